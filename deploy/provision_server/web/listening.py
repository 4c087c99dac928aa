"""Listen for a program, and keep listening while it is started anew, or while another takes its place.

Caddy listens with SO_REUSEPORT, so that two of them share a port in silence. A socket made here has the port
for itself, by the kernel; the program finds it as file descriptor 3, the next one as 4. Calls that come while
the program starts wait in the socket. A Unix socket listens when its program does: who calls before that is
refused, as the proxy wants it, which asks again.
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
from pathlib import Path

FIRST = 3
# The kernel takes its own limit (net.core.somaxconn) where that is lower.
BACKLOG = 4096
# A program that ends sooner never served: whoever started this one decides whether to try again.
SERVED_SECONDS = 2.0
# So long a program that shall take another's place has until it says that it is ready.
READY_SECONDS = 180.0
_TOLD = {signal.SIGTERM, signal.SIGINT}
# gunicorn's and Caddy's own signals to do their work with new settings.
_HANDED_ON = {signal.SIGHUP, signal.SIGUSR1}
TAKE_OVER = signal.SIGUSR2
_SIGNALS = {*_TOLD, *_HANDED_ON, TAKE_OVER, signal.SIGCHLD}
_PAUSE = 0.1
_KILLED = 128 + signal.SIGKILL

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


class PortTaken(Exception):
    """Another program listens there."""


class Program:
    """A child process, which may have been started before this program was."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.code = 0
        self.started = time.monotonic()
        self._ended = False
        # Python would wait for the process of an object that nobody has any more.
        self._process = process

    def has_ended(self) -> bool:
        """Return whether the program has ended; then `code` is its exit code."""
        if not self._ended:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0
            if pid:
                self._ended = True
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code
        return self._ended

    def signal(self, number: int) -> None:
        """Send the signal, unless it has ended."""
        if not self.has_ended():
            os.kill(self.pid, number)


class Listener:
    """The sockets of a program that is given them, and the program; ends with it unless it had served."""

    def __init__(self, name: str, addresses: Sequence[Address], *, adopted: bool = False) -> None:
        """Listen on each address; PortTaken when a program has one, OSError when it cannot be had at all.

        `adopted` are sockets that the process has already, where a former program of it put them.
        """
        self._name = name
        self._addresses = addresses
        self._told = False
        self._descriptors = range(FIRST, FIRST + len(addresses))
        if adopted:
            self._sockets = [socket.socket(fileno=os.dup(number)) for number in self._descriptors]
        else:
            self._sockets = [bind(address) for address in addresses]
            self._hand_out()

    def _hand_out(self) -> None:
        # The socket objects' own descriptors may be among these numbers.
        spare = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, self._descriptors.stop) for one in self._sockets]
        for descriptor, number in zip(spare, self._descriptors, strict=True):
            os.dup2(descriptor, number, inheritable=True)
            os.close(descriptor)

    def run(
        self, start: Starter, former: Program | None = None, renew: Callable[[Program], None] | None = None
    ) -> int:
        """Run the program until it is told to end, and give its exit code.

        `former` runs until the new one is ready, and on when that does not get ready. `renew` is called for a
        signal to take the program's place, and returns when it cannot.
        """
        # Waited for one after the other: a handler would miss a signal that comes just
        # before it waits for the program.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        program = start(self._descriptors)
        if former:
            program = self._take_over(program, former, start)
        while not self._told:
            number = signal.sigwait(_SIGNALS)
            if number in _TOLD:
                self._end(program)
            elif number in _HANDED_ON:
                program.signal(number)
            elif number == TAKE_OVER and renew:
                renew(program)
            if program.has_ended() and not self._told:
                if time.monotonic() - program.started < SERVED_SECONDS:
                    return program.code
                how = "killed by SIGKILL" if program.code == _KILLED else f"ended with {program.code}"
                sys.stderr.write(f"{self._name}: {how}, is started again\n")
                self._refuse_until_it_listens()
                program = start(self._descriptors)
        return program.code

    def _take_over(self, program: Program, former: Program, start: Starter) -> Program:
        """Return the program that serves from now on.

        That is the new one when it is ready, with the former one ended, else the former one.
        """
        end, is_ready = time.monotonic() + READY_SECONDS, False
        while not (is_ready and former.has_ended()):
            received = signal.sigtimedwait(_SIGNALS, _PAUSE)
            if received and received.si_signo in _TOLD:
                self._end(former, program)
                break
            if received and received.si_signo in _HANDED_ON:
                program.signal(received.si_signo)
            if not is_ready and start.is_ready():
                is_ready, end = True, time.monotonic() + start.grace_seconds
                former.signal(signal.SIGTERM)
                start.tell("ready", str(program.pid))
            elif is_ready and time.monotonic() > end:
                former.signal(signal.SIGKILL)
            elif not is_ready and (program.has_ended() or time.monotonic() > end):
                why = (
                    f"ended with {program.code}"
                    if program.has_ended()
                    else f"was not ready within {READY_SECONDS:.0f} s"
                )
                program.signal(signal.SIGKILL)
                start.tell("failed", why)
                return former
        start.tell("alone", str(program.pid))
        return program

    def _end(self, *programs: Program) -> None:
        """End every program, and wait for it; the kernel would kill one with this process."""
        self._told = True
        for program in programs:
            program.signal(signal.SIGTERM)
        self._refuse()
        while not all(program.has_ended() for program in programs):
            signal.sigtimedwait({signal.SIGCHLD}, _PAUSE)

    def _refuse(self) -> None:
        """Refuse calls that come from now on, which would wait for who will not answer."""
        for one, address in zip(self._sockets, self._addresses, strict=True):
            # Not every system can do that to a socket that listens.
            with contextlib.suppress(OSError):
                if isinstance(address, str):
                    os.unlink(address)
                else:
                    one.shutdown(socket.SHUT_RDWR)

    def _refuse_until_it_listens(self) -> None:
        """Put new Unix sockets in place of those that listen.

        The proxy then asks again, and says after a while that nobody is there.
        """
        for place, address in enumerate(self._addresses):
            if isinstance(address, str):
                self._sockets[place].close()
                self._sockets[place] = bind(address)
        self._hand_out()


class Starter:
    """How a program is started and says that it is ready; files beside its notes tell who asked for it."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: dict[str, str],
        prepare: Callable[[], None],
        notes: Path,
        grace_seconds: float,
    ) -> None:
        """Make the socket on which the program says that it is ready.

        `prepare` runs in the program's process before it starts; `notes` is a path to add suffixes to.
        """
        self.grace_seconds = grace_seconds
        self._argv = argv
        self._prepare = prepare
        self._notes = notes
        path = notes.with_name(f"{notes.name}.notify")
        path.unlink(missing_ok=True)
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(path))
        self._ready.setblocking(False)
        # systemd's protocol, which both gunicorn and Caddy speak.
        self._environment = {**environment, "NOTIFY_SOCKET": str(path)}

    def __call__(self, descriptors: range) -> Program:
        """Start the program with those descriptors."""

        def begin() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._prepare()

        environment = {**self._environment, "LISTEN_FDS": str(len(descriptors))}
        self.is_ready()
        process = subprocess.Popen(self._argv, env=environment, pass_fds=descriptors, preexec_fn=begin)  # noqa: PLW1509
        return Program(process.pid, process)

    def is_ready(self) -> bool:
        """Return whether the program has said that it is ready since this was asked last."""
        said = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                said += self._ready.recv(4096) + b"\n"
        return b"READY=1" in said

    def tell(self, suffix: str, text: str) -> None:
        """Write how the start went to the file with that suffix."""
        self._notes.with_name(f"{self._notes.name}.{suffix}").write_text(f"{text}\n")


def bind(address: Address) -> socket.socket:
    """Make a socket of that address; on TCP it listens, and shares the port with nobody."""
    if isinstance(address, str):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(address)
        return made
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} of {host} is taken by another program") from None
        raise OSError(
            error.errno, f"cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}"
        ) from None
