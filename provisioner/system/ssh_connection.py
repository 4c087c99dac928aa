"""One SSH connection, made when it is first needed and shared by all that is asked of its host."""

from __future__ import annotations

import atexit
import contextlib
import shlex
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from provisioner.errors import CommandFailed, ProvisionError
from provisioner.system import process, ssh_command
from provisioner.system.process import Completed, Held
from provisioner.system.wait import wait_until

LOST = 255
"""The return code of a lost connection's error; ssh's own word for it."""
_CONNECT_DEADLINE = 600.0
"""Seconds until the connection stands; a person may have to find a passphrase.
ssh itself gives up on a silent host much earlier."""


class Connection:
    """The connection to the machine that `ssh DESTINATION` leads to."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self._folder: Path | None = None
        self._master: Held | None = None
        self._facts: dict[str, str] = {}
        self._forwards: dict[str, str] = {}
        self._opening = threading.Lock()

    @property
    def facts(self) -> Mapping[str, str]:
        """Return what the host told of itself when it was connected to.

        That is `home`, `user`, `system`, `machine` (as `uname` says them) and `connection` (the addresses at
        both ends).
        """
        self._socket()
        return self._facts

    def resolved(self) -> Mapping[str, str]:
        """Return what the user's SSH configuration makes of the destination; connect to nothing.

        It has `hostname`, `user`, `port` and more.
        """
        return ssh_command.parse_resolved(process.run(ssh_command.resolved(self.destination)).text)

    def argv(self, command: str, *, terminal: bool = False) -> list[str]:
        """Return the argv that runs the shell command there, with its streams here."""
        return ssh_command.over(self.destination, self._socket(), command, terminal=terminal)

    def program(self, argv: Sequence[str]) -> list[str]:
        """Return the argv that runs the program there, for a pipe that ends here."""
        return self.argv(ssh_command.in_sh(shlex.join(argv)))

    def run(self, command: str, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60) -> Completed:
        """Run the shell command there to its end; errors name `argv`.

        Raise CommandFailed when the connection was lost.
        """
        try:
            done = process.run(self.argv(command), stdin=stdin, timeout=timeout, check=False)
        except CommandFailed as failure:
            what, where = failure.what.replace("ssh", argv[0], 1), f"{self.destination}: {shlex.join(argv)}"
            raise failure.with_(what=what, where=where, argv=tuple(argv)) from failure
        if done.code == LOST and not self.is_alive():
            raise self.lost(argv)
        return done

    def forward(self, address: str) -> str:
        """Return this machine's HOST:PORT by which the host's HOST:PORT is reached through the connection."""
        if address not in self._forwards:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            try:
                with self.named():
                    process.run(ssh_command.forward(self.destination, self._socket(), port, address))
            except CommandFailed as failure:
                raise self.lost_or(("forward", address), failure) from failure
            self._forwards[address] = f"127.0.0.1:{port}"
        return self._forwards[address]

    def is_alive(self) -> bool:
        """Return whether the connection still stands.

        Look for a second, since ssh ends a moment after what it carried.
        """
        return not wait_until(lambda: not (self._master and self._master.alive), 1, 0.05)

    def lost_or(self, argv: Sequence[str], error: ProvisionError) -> ProvisionError:
        """Return the error for a connection lost while the program ran, if it was; else the error given."""
        return error if self.is_alive() else self.lost(argv)

    def lost(self, argv: Sequence[str]) -> CommandFailed:
        """Return the error for a connection that was lost while the program ran."""
        return CommandFailed(
            f"the connection to {self.destination} was lost",
            where=f"{self.destination}: {shlex.join(argv)}",
            hint="the same command again goes on from where this one was",
            left_as="what was done so far stays; what ran still runs",
            argv=tuple(argv),
            returncode=LOST,
        )

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Run the block with errors that name the host."""
        try:
            yield
        except CommandFailed as failure:
            raise failure.with_(where=f"{self.destination}: {failure.where}") from failure

    def close(self) -> None:
        """End the connection; the next command makes a new one."""
        if self._master:
            self._master.end()
            self._master = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._forwards.clear()

    def _socket(self) -> Path:
        """Return the socket of the shared connection; connect when there is none."""
        with self._opening:
            if self._folder is None:
                # Unix socket paths are limited to 107 bytes, and TMPDIR may be long.
                self._folder = Path(tempfile.mkdtemp(prefix="provision-ssh-", dir="/tmp"))
                atexit.register(self.close)
            path = self._folder / "s"
            if self._master is None:
                resolved = self.resolved()
                asks = resolved.get("stricthostkeychecking") == "ask"
                held = process.hold(
                    ssh_command.connect(
                        self.destination, path, interactive=sys.stdin.isatty(), asks_about_keys=asks
                    )
                )
                try:
                    lines = held.lines(ssh_command.READY, _CONNECT_DEADLINE)
                except CommandFailed as failure:
                    held.end()
                    raise ssh_command.explained(failure, self.destination, resolved) from failure
                self._master = held
                facts = lines[lines.index(ssh_command.BEGIN) + 1 :] if ssh_command.BEGIN in lines else lines
                self._facts = dict(zip(ssh_command.FACTS, facts, strict=False))
            return path
