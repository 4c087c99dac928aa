"""The runtime of an opened stack."""

from __future__ import annotations

from provisioner.actions.stack_directory import OpenStack
from provisioner.errors import ProvisionError, Unhealthy
from provisioner.model.settings import DEFAULT_PORT
from provisioner.model.stack import RuntimeKind, Stack, build_stack
from provisioner.runtimes import choose_runtime
from provisioner.runtimes.base import Place, Runtime, RuntimeChoice


def stack_port(opened: OpenStack) -> int:
    """The front door's port: the user's, the one found before, or the default."""
    return opened.settings.server.port or opened.state.port or DEFAULT_PORT


def make_runtime(opened: OpenStack, stack: Stack, port: int) -> Runtime:
    """The runtime of that kind on the stack's directory and host."""
    place = Place(opened.directory, opened.project, port)
    if stack.runtime == "docker":
        from provisioner.runtimes.docker import DockerRuntime

        return DockerRuntime(stack, place, opened.host)
    from provisioner.runtimes.embedded import embedded_runtime

    return embedded_runtime(stack, place)


def choose(opened: OpenStack, option: RuntimeKind | None) -> RuntimeChoice:
    """The runtime that a first or later `up` of this stack takes, and why."""

    def why_not_docker() -> str:
        try:
            make_runtime(opened, build_stack(opened.settings, "docker"), stack_port(opened)).preflight()
        except ProvisionError as error:
            return error.what
        return ""

    return choose_runtime(option, opened.state.runtime, why_not_docker)


def existing_runtime(opened: OpenStack) -> tuple[Stack, Runtime] | None:
    """The stack and its runtime as they were made; None when this stack was never brought up."""
    if not opened.state.runtime:
        return None
    stack = build_stack(opened.settings, opened.state.runtime)
    return stack, make_runtime(opened, stack, stack_port(opened))


def made_runtime(opened: OpenStack) -> tuple[Stack, Runtime]:
    """The stack and its runtime as they were made; Unhealthy when this stack was never brought up."""
    existing = existing_runtime(opened)
    if existing is None:
        raise never_made(opened)
    return existing


def never_made(opened: OpenStack) -> Unhealthy:
    """What is wrong with a stack that was never brought up."""
    return Unhealthy("this stack was never brought up", where=str(opened.directory), hint="`provision up` starts it")


def tracking_uri(opened: OpenStack, port: int) -> str:
    """What clients use: the public address, or this machine's."""
    return opened.settings.server.public_url or front_door(opened, port)


def front_door(opened: OpenStack, port: int) -> str:
    """Where this machine reaches the front door."""
    return f"http://{opened.settings.server.host}:{port}"
