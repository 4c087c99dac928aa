"""Services to supervisord's settings, without a path of the machine, and to the JSON of the launcher."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provisioner.assets import SERVER_CODE
from provisioner.model.typed import check_types

SUPERVISORD_CONF = "deploy/embedded/supervisord.conf"
SERVICES_JSON = "deploy/embedded/services.json"
LOGS = "logs"
SOCKET = "supervisor.sock"
PID_FILE = "supervisord.pid"

# supervisord expands log file names twice and chokes on quotes in `environment=`: so only relative names
# stand here, and what may hold any character (paths, environment) is in the launcher's JSON. PROVISION_RUN is
# a short name of ours.
_HEAD = f"""\
# Made by `provision`; changes here are overwritten.
# supervisord is started in the stack directory: every name is relative to it.

[unix_http_server]
file=%(ENV_PROVISION_RUN)s/{SOCKET}
chmod=0700

[supervisord]
logfile={LOGS}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=2
pidfile=%(ENV_PROVISION_RUN)s/{PID_FILE}
nodaemon=false
nocleanup=true
umask=077

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """
[program:{name}]
command=python {server} launch {name}
priority={priority}
autostart=false
autorestart=true
startsecs=2
startretries=10
stopsignal={stop_signal}
stopwaitsecs={grace_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LONGEST_GRACE = 24 * 60 * 60
_TYPES = {
    "argv": tuple[str, ...],
    "environment": dict[str, str],
    "parent_death_signal": str,
    "grace_seconds": int,
    "long_running": bool,
    "reads": tuple[str, ...],
    "log": str,
    "listen": tuple[str | tuple[str, int], ...],
}


@dataclass(frozen=True)
class ProcessSpec:
    """How one service is run as a process: its whole command line and environment, and how it is ended."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    stop_signal: str = "TERM"
    grace_seconds: int = 10
    long_running: bool = True
    log: str = ""
    """A file that the process writes itself, since nobody takes its output."""
    listen: tuple[tuple[str, int] | str, ...] = ()
    """The hosts and ports, or paths, that it is given as sockets, from file descriptor 3 on;
    then another can take its place."""
    reads: tuple[str, ...] = field(default=())
    """The rendered files that it reads: another content makes it another configuration."""


def render_supervisord(specs: Sequence[ProcessSpec]) -> str:
    """Return the text of `supervisord.conf` for the long-running services.

    They are stopped in the opposite of this order.
    """
    long_running = [spec for spec in specs if spec.long_running]
    return _HEAD + "".join(_program(spec, 10 * place) for place, spec in enumerate(long_running, start=1))


def _program(spec: ProcessSpec, priority: int) -> str:
    return _PROGRAM.format(
        name=spec.name,
        server=SERVER_CODE,
        priority=priority,
        stop_signal=spec.stop_signal,
        grace_seconds=spec.grace_seconds,
        logs=LOGS,
    )


def render_launcher(specs: Sequence[ProcessSpec]) -> str:
    """Return the text of the launcher's JSON: no secret is in it, only where secrets are."""
    return launcher_text({spec.name: _entry(spec) for spec in specs})


def launcher_text(entries: Mapping[str, Any]) -> str:
    """Return the text of the launcher's JSON with these entries, by name of the service."""
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def read_launcher(text: str) -> tuple[ProcessSpec, ...]:
    """Return the services that a launcher's JSON is of, in start order; raise ValueError when it is none."""
    try:
        return tuple(_spec(name, entry) for name, entry in json.loads(text).items())
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is no JSON of a launcher: {error}") from error


def _spec(name: str, entry: Mapping[str, Any]) -> ProcessSpec:
    check_types(entry, _TYPES, f"{name}: ")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a service")
    if not entry["argv"] or not 0 <= entry["grace_seconds"] <= _LONGEST_GRACE:
        raise ValueError(f"{name}: argv is empty, or grace_seconds more than a day")
    return ProcessSpec(
        name,
        tuple(entry["argv"]),
        dict(entry["environment"]),
        stop_signal=entry["parent_death_signal"].removeprefix("SIG"),
        grace_seconds=entry["grace_seconds"],
        long_running=entry["long_running"],
        log=entry.get("log", ""),
        listen=tuple(one if isinstance(one, str) else tuple(one) for one in entry.get("listen", ())),
        reads=tuple(entry["reads"]),
    )


def _entry(spec: ProcessSpec) -> dict[str, object]:
    entry: dict[str, object] = {
        "argv": list(spec.argv),
        "environment": spec.environment,
        "parent_death_signal": f"SIG{spec.stop_signal}",
        "grace_seconds": spec.grace_seconds,
        "long_running": spec.long_running,
        "reads": list(spec.reads),
    }
    if spec.log:
        entry["log"] = spec.log
    if spec.listen:
        entry["listen"] = [address if isinstance(address, str) else list(address) for address in spec.listen]
    return entry
