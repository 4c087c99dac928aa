"""The command line and environment of every process of the embedded runtime; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.assets import SERVER_CODE
from provisioner.model.addresses import Addresses
from provisioner.model.environment import service_environment
from provisioner.model.proxy import in_url, local_address, redirect_port
from provisioner.model.service import megabytes
from provisioner.model.stack import TLS_KEY, Stack
from provisioner.model.stores.postgres import POSTGRES_USER, postgres_options
from provisioner.runtimes.base import Instance
from provisioner.runtimes.caddyfile import CADDYFILE
from provisioner.runtimes.embedded.supervisord_conf import LOGS, ProcessSpec, launcher_text, read_launcher

# The directory of unix sockets is not known before the start and may change at the next one: the launcher
# puts the real one in this name's place, and Caddy takes it from its environment.
RUN = "/@RUN@"
RUN_VARIABLE = "PROVISION_RUN"
SERVER_SOCKET = "mlflow.sock"
POSTGRES_DATA = "data/postgres"
POSTGRES_NEW = "data/postgres.new"
ARTIFACTS = "data/artifacts"
SCRATCH = "data/tmp"
HOME = "data/home"
CADDY_HOME = "data/caddy"
SECRETS = "secrets"
MEMORY_FILE = "data/runtime.json"
DIRECTORIES = (ARTIFACTS, SCRATCH, HOME, CADDY_HOME, LOGS)
# All that is ours below `data` and `logs`; the folders may have been there before.
OWN_DATA = (POSTGRES_DATA, POSTGRES_NEW, ARTIFACTS, SCRATCH, HOME, CADDY_HOME, MEMORY_FILE)
LOG_NAMES = ("supervisord", "postgres", "bootstrap", "mlflow", "proxy")
INITDB = "initdb"


@dataclass(frozen=True)
class Binaries:
    """The binaries of a server environment."""

    folder: Path

    def path(self, name: str) -> str:
        """Return the path of the program of that name."""
        return str(self.folder / name)


def embedded_addresses(stack: Stack, instance: Instance) -> Addresses:
    """Return where the parts find each other: unix sockets in the run directory; only the proxy is on TCP."""
    server = stack.settings.server
    front, *redirects = (f"{in_url(host)}:{port}" for host, port in listening(stack, instance))
    return Addresses(
        postgres=RUN,
        minio="",
        listen=f"unix:{RUN}/{SERVER_SOCKET}",
        listen_asgi=f"unix:{RUN}/mlflow-asgi.sock",
        upstream=f"unix/{{${RUN_VARIABLE}}}/{SERVER_SOCKET}",
        upstream_asgi=f"unix/{{${RUN_VARIABLE}}}/mlflow-asgi.sock",
        front=front,
        front_http="".join(redirects),
        front_sockets=("fd/3", "fd/4"),
        front_files=str(Path(CADDYFILE).parent),
        front_key=f"{SECRETS}/{TLS_KEY}",
        jobs=f"http://{local_address(server.bind)}:{instance.port}",
        artifacts=str(instance.directory / ARTIFACTS),
        secrets=str(instance.directory / SECRETS),
    )


def listening(stack: Stack, instance: Instance) -> tuple[tuple[str, int], ...]:
    """Return the addresses and ports of the proxy: its own, and the one that redirects."""
    server = stack.settings.server
    redirect = redirect_port(server, instance.port)
    ports = (instance.port, redirect) if redirect else (instance.port,)
    return tuple((server.bind, port) for port in ports)


def process_specs(
    stack: Stack, instance: Instance, binaries: Binaries, host_memory_mb: int
) -> tuple[ProcessSpec, ...]:
    """Return every process that the stack may run, in start order; `initdb` first if the database is ours."""
    addresses = embedded_addresses(stack, instance)
    base = base_environment(instance, binaries)
    sockets = tuple(address.removeprefix("unix:") for address in (addresses.listen, addresses.listen_asgi))
    scratch = {"PROVISION_TMP": str(instance.directory / SCRATCH)}
    make: dict[str, Callable[[], ProcessSpec]] = {
        "postgres": lambda: _postgres(stack, binaries, base, host_memory_mb),
        "bootstrap": lambda: _server(
            "bootstrap", stack, binaries, base | service_environment(stack, "bootstrap", addresses)
        ),
        "mlflow": lambda: _server(
            "mlflow",
            stack,
            binaries,
            base | scratch | service_environment(stack, "mlflow", addresses),
            sockets,
        ),
        "proxy": lambda: _proxy(stack, instance, binaries, base),
    }
    services = tuple(make[service.name]() for service in stack.services if service.name in make)
    return (_initdb(binaries, base), *services) if stack.own_backend else services


def moved_launcher(text: str, binaries: Binaries, directory: Path) -> str:
    """Return a launcher's JSON with these programs, in this directory of the stack, in place of its own ones.

    Raise ValueError when it is no JSON of a launcher.
    """
    first, entries = next(iter(read_launcher(text)), None), json.loads(text)
    if first is None or "HOME" not in first.environment:
        raise ValueError("it names no process with a home")
    folder, home = _above(first.argv[0], "/[^/]+"), _above(first.environment["HOME"], f"/{HOME}")
    if (folder, home) == (str(binaries.folder), _root(directory)):
        return text
    there = _mover({folder: str(binaries.folder), home: _root(directory)}, folder)
    for entry in entries.values():
        entry["argv"] = [there(value) for value in entry["argv"]]
        entry["environment"] = {name: there(value) for name, value in entry["environment"].items()}
    return launcher_text(entries)


def _root(directory: Path) -> str:
    """Return the directory as it stands before what is in it: "" for the one above all."""
    return str(directory / HOME).removesuffix(f"/{HOME}")


def _above(path: str, end: str) -> str:
    """Return what stands before the end, a pattern, of an absolute path; raise ValueError for another."""
    found = re.fullmatch(rf"((?:/.*)?){end}", path, re.DOTALL)
    if found is None:
        raise ValueError(f"{path!r} is not where such a path is")
    return found[1]


def _mover(places: Mapping[str, str], folder: str) -> Callable[[str], str]:
    """Return what puts other places into a value of a launcher's JSON; `folder` is that of the programs.

    A path of ours stands at the start of a value, or after the name of an option or the kind of an address;
    what a person may have written, such as the query of a URI, is left alone, and so are sockets.
    """
    ends = {path: r"(?=[/:]|$)" if path == folder else rf"(?=/)(?!{re.escape(RUN)})" for path in places}
    # One of them may be in the other.
    longest = sorted(places, key=len, reverse=True)
    ours = "|".join(rf"{re.escape(path)}{ends[path]}" for path in longest)
    pattern = re.compile(rf"((?:-*[a-zA-Z][\w-]*=)?(?:unix:|file://)?)({ours})")

    def there(value: str) -> str:
        found = pattern.match(value)
        return f"{found[1]}{places[found[2]]}{value[found.end() :]}" if found else value

    return there


def base_environment(instance: Instance, binaries: Binaries) -> dict[str, str]:
    """Return the variables that every process gets; none is from the user's own environment."""
    return {
        "PATH": f"{binaries.folder}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(instance.directory / HOME),
        "TMPDIR": str(instance.directory / SCRATCH),
        "LANG": "C.UTF-8",
    }


def supervisord_argv(binaries: Binaries, configuration: str) -> list[str]:
    """Return the command line that starts supervisord, which then goes on in the background."""
    return [binaries.path("python"), "-m", "supervisor.supervisord", "-c", configuration]


def launcher_argv(binaries: Binaries, name: str, argv: tuple[str, ...] = ()) -> list[str]:
    """Return the command line that runs a process outside of supervisord.

    `argv` runs in place of its own, in its environment.
    """
    return [binaries.path("python"), SERVER_CODE, "launch", name, *argv]


def entrypoint_argv(binaries: Binaries, *arguments: str) -> tuple[str, ...]:
    """Return the command line of the server's own program."""
    return (binaries.path("python"), SERVER_CODE, *arguments)


def _initdb(binaries: Binaries, base: Mapping[str, str]) -> ProcessSpec:
    argv = (
        binaries.path("initdb"),
        f"--pgdata={POSTGRES_NEW}",
        f"--username={POSTGRES_USER}",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        "--encoding=UTF8",
        "--auth=scram-sha-256",
        f"--pwfile={SECRETS}/postgres_password",
    )
    # Interrupted, it would remove the directory by its name, in which the next `up` may work already.
    return ProcessSpec(INITDB, argv, dict(base), stop_signal="KILL", long_running=False)


def _postgres(stack: Stack, binaries: Binaries, base: Mapping[str, str], host_memory_mb: int) -> ProcessSpec:
    limit = stack.settings.resources.postgres.memory
    # The database shares the machine with all else that runs there.
    memory_mb = megabytes(limit) if limit else host_memory_mb // 8
    options = postgres_options(
        memory_mb,
        listen_addresses="",
        unix_socket_directories=RUN,
        unix_socket_permissions="0700",
        wal_level="minimal",
        max_wal_senders="0",
    )
    argv = (binaries.path("postgres"), "-D", POSTGRES_DATA, *options)
    # SIGTERM would wait for every client to leave.
    return ProcessSpec(
        "postgres", argv, dict(base), stop_signal="INT", grace_seconds=stack.service("postgres").grace_seconds
    )


def _server(
    name: str,
    stack: Stack,
    binaries: Binaries,
    environment: Mapping[str, str],
    listen: tuple[tuple[str, int] | str, ...] = (),
) -> ProcessSpec:
    python = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    service = stack.service(name)
    return ProcessSpec(
        name,
        entrypoint_argv(binaries, *service.command),
        {**environment, **python},
        grace_seconds=service.grace_seconds,
        long_running=not service.one_shot,
        log=f"{LOGS}/{name}.log" if service.one_shot else "",
        listen=listen,
        reads=(SERVER_CODE,),
    )


def _proxy(stack: Stack, instance: Instance, binaries: Binaries, base: Mapping[str, str]) -> ProcessSpec:
    home = str(instance.directory / CADDY_HOME)
    return ProcessSpec(
        "proxy",
        (binaries.path("caddy"), "run", "--config", CADDYFILE, "--adapter", "caddyfile"),
        {**base, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home},
        grace_seconds=stack.service("proxy").grace_seconds,
        listen=listening(stack, instance),
    )
