"""Ports for tests: of each process its own, and none that the kernel hands out to clients meanwhile."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Below the range of which the kernel takes a client's own port (32768 on Linux):
# a port that was free stays it until it is used.
FIRST, EACH, PROCESSES = 12_000, 2_000, 10
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
# Another run on the same machine begins elsewhere.
_next = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """Return a port of the loopback address and of all others that nobody listens on.

    This process returned it to nobody else.
    """
    for number in itertools.islice(_next, EACH):
        port = FIRST + _worker * EACH + number % EACH
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port is free from {FIRST + _worker * EACH} on")


@contextmanager
def held(port: int) -> Iterator[None]:
    """Somebody listens on the port of the loopback address; it may have been taken before."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            server.bind(("127.0.0.1", port))
            server.listen()
        yield
