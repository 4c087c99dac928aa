"""Listen for a program, and keep listening while it is started anew: a port belongs to one stack.

Caddy listens with SO_REUSEPORT, so that two of them share a port in silence. A socket made here has the port for itself, by the
kernel; the program finds it as file descriptor 3, the next one as 4. Calls that come while the program starts wait in the socket.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

FIRST = 3
# The kernel takes its own limit (net.core.somaxconn) where that is lower.
BACKLOG = 4096
# A program that ends sooner never served: whoever started this one decides whether to try again.
SERVED_SECONDS = 2.0
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class PortTaken(Exception):
    """Another program listens there."""


class Listener:
    """The sockets of a program that is given them, and the program; ends with it unless it had served."""

    def __init__(self, name: str, addresses: Sequence[tuple[str, int]]) -> None:
        """Listen on each host and port; PortTaken when another program has one, OSError when it cannot be had at all."""
        self._name = name
        self._sockets = [listen(host, port) for host, port in addresses]
        self._descriptors = range(FIRST, FIRST + len(addresses))
        # The socket objects' own descriptors may be among these numbers.
        spare = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, self._descriptors.stop) for one in self._sockets]
        for descriptor, number in zip(spare, self._descriptors, strict=True):
            os.dup2(descriptor, number, inheritable=True)

    def run(self, argv: Sequence[str], environment: dict[str, str], prepare: Callable[[], None]) -> int:
        """Run the program until it is told to end, and give its exit code; `prepare` runs in its process before it starts."""
        # Waited for one after the other: a handler would miss a signal that comes just before it waits for the program.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

        def begin() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            prepare()

        while True:
            started = time.monotonic()
            program = subprocess.Popen(argv, env=environment, pass_fds=self._descriptors, preexec_fn=begin)  # noqa: PLW1509
            told = self._wait(program)
            if told or time.monotonic() - started < SERVED_SECONDS:
                return program.returncode if program.returncode >= 0 else 128 - program.returncode
            sys.stderr.write(f"{self._name}: ended with {program.returncode}, is started again\n")

    def _wait(self, program: subprocess.Popen[bytes]) -> bool:
        """Whether it was told to end; returns when it has ended."""
        told = False
        while program.poll() is None:
            if signal.sigwait(_SIGNALS) != signal.SIGCHLD:
                told = True
                program.terminate()
                self._refuse()
        return told

    def _refuse(self) -> None:
        """Refuse calls that come from now on, which would wait for who will not answer."""
        for one in self._sockets:
            # Not every system can do that to a socket that listens.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there and shares the port with nobody."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} of {host} is taken by another program") from None
        raise OSError(error.errno, f"cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}") from None
