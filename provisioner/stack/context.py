"""What follows from an opened stack: its port and addresses, its runtime, a client of its proxy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from provisioner.errors import PreflightError, ProvisionError, Unhealthy
from provisioner.mlflow_api import StackRest
from provisioner.model.proxy import DEFAULT_PORT, default_port, ends_tls, in_url, local_address, origin_of
from provisioner.model.secret import Secret
from provisioner.model.stack import ADMIN_LOGIN, RuntimeKind, Stack, build_stack
from provisioner.output import Reporter
from provisioner.runtimes.base import Place, Runtime, RuntimeChoice
from provisioner.runtimes.choose import choose_runtime
from provisioner.runtimes.docker.compose_file import port_in_env
from provisioner.stack.directory import OpenStack, clients_ca, find_stack
from provisioner.system import ports
from provisioner.system.certificates import clients_ca_file


@dataclass(frozen=True)
class FrontDoor:
    """A front door as this machine reaches it: HOST:PORT, whether it speaks TLS, and the private certificates to believe it by."""

    address: str
    tls: bool = False
    ca: bytes | None = None
    identity: str = ""
    """Which stack answers there; "" where that is not known."""


def stack_port(opened: OpenStack) -> int:
    """Return the proxy's port.

    It is the user's (with TLS that of the public URL), the one found before, or the default.
    """
    server = opened.settings.server
    if server.port or ends_tls(server):
        return server.port or default_port(server)
    # `render` chooses one for who starts the stack without us.
    return opened.state.port or port_in_env(opened.host.get(opened.directory / ".env")) or default_port(server)


def may_choose_port(opened: OpenStack) -> bool:
    """Return whether the user named no port, and nobody has the address: the stack was never checked.

    With TLS, or on a server, the port is not free to choose.
    """
    server = opened.settings.server
    unknown = opened.state.port is None or not opened.state.checked
    return server.port is None and unknown and not ends_tls(server) and not opened.host.name


def next_free_port(opened: OpenStack, port: int, reporter: Reporter) -> int | None:
    """Return the first free port after one that is taken, and report it; None when there is none near."""
    held_by = opened.host.holder(port)
    free = ports.next_free(opened.settings.server.bind, max(port, DEFAULT_PORT) + 1)
    if free:
        reporter.step("chosen", "port", f"{free}, since {port} is taken" + (f" by {held_by}" if held_by else ""))
    return free


def make_runtime(opened: OpenStack, stack: Stack, port: int, identity: str = "") -> Runtime:
    """Return the stack's runtime on its directory and host; `identity` is for a stack that has none yet."""
    state = opened.state
    place = Place(opened.directory, opened.project, port, opened.here, state.identity or identity, new=not state.checked)
    if stack.runtime == "docker":
        from provisioner.runtimes.docker.runtime import DockerRuntime

        return DockerRuntime(stack, place, opened.host)
    from provisioner.runtimes.embedded.runtime import embedded_runtime

    return embedded_runtime(stack, place)


def choose(opened: OpenStack, option: RuntimeKind | None) -> RuntimeChoice:
    """Return the runtime that a first or later `up` of this stack takes, and why."""
    if opened.host.name:
        if option == "embedded":
            raise PreflightError("a stack on another machine runs on Docker", where="--runtime", hint="leave --runtime out")
        return RuntimeChoice("docker", "a stack on another machine runs on it")

    def why_not_docker() -> str:
        try:
            make_runtime(opened, build_stack(opened.settings, "docker"), stack_port(opened)).preflight()
        except ProvisionError as error:
            return error.what
        return ""

    return choose_runtime(option, opened.state.runtime, why_not_docker)


def existing_runtime(opened: OpenStack) -> tuple[Stack, Runtime] | None:
    """Return the stack, on the runtime that it was made with; None when it was never brought up."""
    if not opened.state.runtime:
        return None
    stack = build_stack(opened.settings, opened.state.runtime)
    return stack, make_runtime(opened, stack, stack_port(opened))


def made_runtime(opened: OpenStack) -> tuple[Stack, Runtime]:
    """Return the stack, on the runtime that it was made with; Unhealthy when it was never brought up."""
    existing = existing_runtime(opened)
    if existing is None:
        raise never_made(opened)
    return existing


def never_made(opened: OpenStack) -> Unhealthy:
    """Return the error for a stack that was never brought up."""
    return Unhealthy("this stack was never brought up", where=opened.place, hint="`provision up` starts it")


def tracking_uri(opened: OpenStack, port: int) -> str:
    """Return the address that clients use: the public one, or this machine's."""
    server = opened.settings.server
    return server.public_url or f"http://{in_url(server.bind)}:{port}"


def front_door(opened: OpenStack, port: int) -> FrontDoor:
    """Return where this machine reaches the proxy, and how."""
    server = opened.settings.server
    return FrontDoor(opened.host.reach(f"{local_address(server.bind)}:{port}"), ends_tls(server), clients_ca(opened), opened.state.identity)


def made_stack(option: Path | None) -> OpenStack:
    """Return the stack that a command typed here works on; Unhealthy when it was never brought up."""
    opened = find_stack(option)
    if opened.state.runtime is None:
        raise never_made(opened)
    return opened


def client(door: FrontDoor, public_url: str, password: Secret | None, timeout: float = 10) -> StackRest:
    """Return a client that reaches the proxy here, but names it and trusts its certificate as others do."""
    return StackRest(
        public_url if door.tls else f"http://{door.address}",
        identity=door.identity,
        connect=door.address,
        host=urlsplit(public_url).netloc,
        origin=origin_of(public_url),
        username=ADMIN_LOGIN if password else "",
        password=password.reveal() if password else "",
        timeout=timeout,
        trusted=door.ca or clients_ca_file(""),
    )
