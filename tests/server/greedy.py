"""What a test does to take more than its share, and what it sees of the memory that others need."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import psutil

from tests.server.deployed import Deployed, eventually

MB = 1_000_000
SEARCH = "/api/2.0/mlflow/experiments/search"
OTHERS = 8


def rate(deployed: Deployed, seconds: float) -> float:
    """Return the calls that others are answered in a second; one that is refused fails the test."""
    end = time.monotonic() + seconds

    def work(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            assert deployed.front("POST", SEARCH, {"max_results": 1}).status == 200
            count += 1
        return count

    with ThreadPoolExecutor(OTHERS) as pool:
        return sum(pool.map(work, range(OTHERS))) / seconds


@contextmanager
def stalled(deployed: Deployed, count: int, request: bytes, *, small_window: bool = False) -> Iterator[list[socket.socket]]:
    """Connections that have sent this and then do nothing more; `small_window` leaves no room for an answer either."""
    address = urlsplit(deployed.uri)
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            if small_window:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((str(address.hostname), int(address.port or 0)))
            connection.sendall(request)
            held.append(connection)
        yield held


def proxy_pid(deployed: Deployed) -> int:
    """The front door's process, as this machine numbers it."""
    if not deployed.embedded:
        argv = ["docker", "inspect", "--format", "{{.State.Pid}}", deployed.program.container("proxy")]
        return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    launcher = int(deployed.program.services()["proxy"]["id"].removeprefix("pid "))
    (caddy,) = psutil.Process(launcher).children()
    return int(caddy.pid)


def settled(deployed: Deployed, pid: int) -> None:
    """Wait until that process of the server has nothing to do any more."""
    seen = [""]

    def idle() -> bool:
        seen.append(deployed.python(f"print(open('/proc/{pid}/stat').read().rpartition(')')[2].split()[11:13])"))
        return seen[-1] == seen[-2]

    eventually(idle, "it has nothing to do", seen)


_PEAK = "from pathlib import Path\nimport re\nprint(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/{pid}/status').read_text())[1])"


def peak_mb(deployed: Deployed, pid: int) -> float:
    """The most memory that a process of the server ever had, in MB."""
    return int(deployed.python(_PEAK.format(pid=pid))) / 1000


def peak_here_mb(pid: int) -> float:
    """The same of a process as this machine numbers it."""
    with open(f"/proc/{pid}/status") as file:
        found = re.search(r"VmHWM:\s+(\d+) kB", file.read())
    assert found
    return int(found[1]) / 1000
