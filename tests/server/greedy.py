"""What a test does to take more than its share, and what it sees of the memory that others need."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.server.deployed import Deployed, eventually
from tests.server.load import rate

SEARCH = "/api/2.0/mlflow/experiments/search"
OTHERS = 8


def others(deployed: Deployed, seconds: float, path: str = "") -> float:
    """Return the calls a second, of that path or searches, that others are answered.

    One that is refused fails the test.
    """
    call = ("GET", path) if path else ("POST", SEARCH, {"max_results": 1})
    return rate(lambda _: deployed.front(*call).status, OTHERS, seconds)


@contextmanager
def stalled(deployed: Deployed, count: int, request: bytes) -> Iterator[None]:
    """Connections that have sent this and then do nothing more; there is little room for an answer either."""
    address = urlsplit(deployed.uri)
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((str(address.hostname), int(address.port or 0)))
            connection.sendall(request)
        yield


def proxy_pid(deployed: Deployed) -> int:
    """The proxy's process, as this machine numbers it."""
    if not deployed.embedded:
        argv = ["docker", "inspect", "--format", "{{.State.Pid}}", deployed.program.container("proxy")]
        return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    launcher = int(deployed.program.services()["proxy"]["id"].removeprefix("pid "))
    (caddy,) = psutil.Process(launcher).children()
    return int(caddy.pid)


def settled(deployed: Deployed, pids: tuple[int, ...]) -> None:
    """Wait until these processes of the server have nothing to do any more."""
    seen = [""]

    def idle() -> bool:
        script = (
            "print([open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[11:13] "
            f"for pid in {list(pids)}])"
        )
        seen.append(deployed.python(script))
        return seen[-1] == seen[-2]

    eventually(idle, "it has nothing to do", seen)


def peak_mb(deployed: Deployed, pid: int) -> float:
    """The most memory that a process of the server ever had, in MB."""
    return _peak_mb(deployed.python(f"print(open('/proc/{pid}/status').read())"))


def peak_here_mb(pid: int) -> float:
    """The same of a process as this machine numbers it."""
    return _peak_mb(Path(f"/proc/{pid}/status").read_text())


def _peak_mb(status: str) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000
