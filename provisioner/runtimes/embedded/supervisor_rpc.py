"""Talk to supervisord over its unix socket."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NOT_RUNNING = 70
_ALREADY_ADDED = 90
_BAD_NAME = 10


class Unreachable(Exception):
    """supervisord does not answer."""


class Refused(Exception):
    """supervisord answered that it cannot do that."""


@dataclass(frozen=True)
class ProcessInfo:
    """A process as supervisord sees it; `state` in its own words."""

    name: str
    state: str
    pid: int
    detail: str
    up_seconds: int


class Supervisor:
    """One supervisord; every call raises Unreachable when it does not answer."""

    def __init__(self, path: Path, timeout: float = 10) -> None:
        self._path = path
        self._timeout = timeout

    def pid(self) -> int:
        """Return its process number."""
        return int(self._call("supervisor.getPID"))

    def processes(self) -> dict[str, ProcessInfo]:
        """Return every process by name."""
        found = [_info(row) for row in self._call("supervisor.getAllProcessInfo")]
        return {info.name: info for info in found}

    def reread(self) -> None:
        """Read the settings file anew, for groups that are added from now on."""
        self._call("supervisor.reloadConfig")

    def replace_group(self, name: str) -> None:
        """Replace the stopped group by what the settings file has now."""
        self.remove_group(name)
        self._call("supervisor.addProcessGroup", name, tolerate={_ALREADY_ADDED})

    def remove_group(self, name: str) -> None:
        """Remove the stopped group."""
        self._call("supervisor.removeProcessGroup", name, tolerate={_BAD_NAME})

    def start(self, name: str) -> None:
        """Start the stopped process; do not wait."""
        self._call("supervisor.startProcess", name, False)

    def stop(self, name: str, grace_seconds: float) -> None:
        """Stop the process and wait for its end; supervisord kills it after its grace time."""
        waiting = Supervisor(self._path, grace_seconds + 15)
        waiting._call("supervisor.stopProcess", name, True, tolerate={_NOT_RUNNING, _BAD_NAME})

    def signal(self, name: str, signal: str) -> None:
        """Send the signal to the running process."""
        self._call("supervisor.signalProcess", name, signal)

    def shutdown(self) -> None:
        """Make supervisord end itself and what is left; do not wait."""
        self._call("supervisor.shutdown")

    def _call(self, method: str, *arguments: Any, tolerate: Collection[int] = ()) -> Any:
        transport = _UnixTransport(self._path, self._timeout)
        try:
            with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as server:
                call: Callable[..., Any] = getattr(server, method)
                return call(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in tolerate:
                return None
            raise Refused(f"{method} {' '.join(map(str, arguments))}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise Unreachable(str(error)) from error


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(str(self._path))


def _info(row: dict[str, Any]) -> ProcessInfo:
    return ProcessInfo(
        name=str(row["name"]),
        state=str(row["statename"]),
        pid=int(row["pid"]),
        detail=str(row["spawnerr"] or row["description"]),
        up_seconds=max(0, int(row["now"]) - int(row["start"])),
    )
