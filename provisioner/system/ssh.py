"""A host over SSH: the system's own `ssh`, with the user's configuration, agent and known hosts, over one connection."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import json
import os
import shlex
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from provisioner.errors import CommandFailed, Locked, PreflightError, ProvisionError
from provisioner.system import listeners, process, ssh_command
from provisioner.system.host import LOCK_FILE
from provisioner.system.locks import lock_holder
from provisioner.system.process import Completed, Held
from provisioner.system.wait import wait_until

_CONNECT_DEADLINE = 600.0
"""Seconds until the connection stands; a person may have to find a passphrase. ssh itself gives up on a silent host much earlier."""


class SSHHost:
    """The machine that `ssh DESTINATION` leads to."""

    is_remote = True

    def __init__(self, destination: str) -> None:
        self.name = destination
        self._folder: Path | None = None
        self._master: Held | None = None
        self._facts: dict[str, str] = {}
        self._environment: dict[str, str] | None = None
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
        return ssh_command.parse_resolved(process.run(ssh_command.resolved(self.name)).text)

    def environment(self) -> dict[str, str]:
        if self._environment is None:
            text = self.run(["env", "-0"]).stdout.decode(errors="surrogateescape")
            self._environment = dict(part.split("=", 1) for part in text.split("\0") if "=" in part)
        return dict(self._environment)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float = 60,
        check: bool = True,
    ) -> Completed:
        done = self._over(ssh_command.remote(argv, cwd, self._changes(env)), argv, stdin, timeout)
        stderr, word = ssh_command.ended(done.stderr)
        code = self._code(argv, cwd, word, stderr)
        completed = Completed(tuple(argv), code, done.stdout, stderr)
        if check or code < 0:
            with self._named():
                process.raise_on_failure(argv, code, completed.error_text or completed.text)
        return completed

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the argv that runs the program there, for a pipe that ends here."""
        return ssh_command.over(self.name, self._socket(), ssh_command.in_sh(shlex.join(argv)))

    def lost_or(self, argv: Sequence[str], error: ProvisionError) -> ProvisionError:
        """Return the error for a connection lost while the program ran, if it was; else the error given."""
        return error if self._alive() else self._lost(argv)

    def stream(self, argv: Sequence[str], on_line: Callable[[str], None], *, cwd: Path, env: Mapping[str, str]) -> None:
        command = ssh_command.remote(argv, cwd, self._changes(env), guarded=True)
        last: list[str] = []
        word = ""

        def line(text: str) -> None:
            nonlocal word
            word = ssh_command.ended_line(text) or word
            # The empty line belongs to the last one.
            if not word and text:
                last[:] = [*last[-19:], text]
                on_line(text)

        with contextlib.suppress(CommandFailed):
            process.stream(ssh_command.over(self.name, self._socket(), command), line, held=True)
        said = "\n".join(last)
        with self._named():
            process.raise_on_failure(argv, self._code(argv, cwd, word, said.encode()), said)

    def attach(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> int:
        terminal = sys.stdin.isatty()
        command = f"cd -- {shlex.quote(str(cwd))} && {shlex.join(argv)}"
        del env  # the host's own serves a person who looks
        return process.attach(ssh_command.over(self.name, self._socket(), ssh_command.in_sh(command), terminal=terminal))

    def put(self, content: bytes, path: Path, mode: int) -> None:
        self._change(path, "written", ssh_command.put(path, len(content), mode), ("put", str(path)), content, 600)

    def get(self, path: Path) -> bytes | None:
        return self.read([path])[path]

    def read(self, paths: Sequence[Path]) -> dict[Path, bytes | None]:
        if not paths:
            return {}
        done = self._over(ssh_command.read_all(paths), ("get", *map(str, paths)), b"", 600)
        found: dict[Path, bytes | None] = {}
        for path, content in zip(paths, ssh_command.parse_files(done.stdout, len(paths)), strict=True):
            if isinstance(content, str):
                raise ProvisionError(f"{path} cannot be read", where=f"{self.name}:{path}", hint="check its owner and permissions there")
            found[path] = content
        return found

    def make_directory(self, path: Path, mode: int) -> None:
        file = shlex.quote(str(path))
        script = f"umask 077; mkdir -p -- {file} && chmod {mode:o} {file}"
        self._change(path, "made", ssh_command.in_sh(script), ("mkdir", str(path)))

    def has_directory(self, path: Path) -> bool:
        return self._over(ssh_command.in_sh(f"[ -d {shlex.quote(str(path))} ]"), ("test", str(path))).code == 0

    def remove(self, *paths: Path) -> None:
        files = [str(path) for path in paths]
        self._change(paths[0], "removed", ssh_command.in_sh(f"rm -rf -- {shlex.join(files)}"), ("rm", *files))

    def append(self, line: str, path: Path, mode: int) -> None:
        file = shlex.quote(str(path))
        script = f"umask 077; cat >>{file} && chmod {mode:o} {file}"
        self._change(path, "written", ssh_command.in_sh(script), ("append", str(path)), line.encode() + b"\n")

    def is_free(self, address: str, port: int) -> bool:
        tables = self._over(ssh_command.in_sh("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"), ("cat", "/proc/net/tcp")).text
        return not listeners.listens(tables, address, port)

    def holder(self, port: int) -> str:
        text = self._over(ssh_command.in_sh(listeners.HOLDER.format(port=port)), ("ss", str(port))).text
        return listeners.parse_holder(text)

    def reach(self, address: str) -> str:
        if address not in self._forwards:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            try:
                with self._named():
                    process.run(ssh_command.forward(self.name, self._socket(), port, address))
            except CommandFailed as failure:
                if self._master and not self._alive():
                    raise self._lost(("forward", address)) from failure
                raise
            self._forwards[address] = f"127.0.0.1:{port}"
        return self._forwards[address]

    def reaches(self) -> bool:
        """Return whether the server lets connections through, as `reach` needs.

        Its own SSH server answers through one.
        """
        *_, address, port = self.facts["connection"].split()
        near, near_port = self.reach(f"[{address}]:{port}" if ":" in address else f"{address}:{port}").split(":")
        with contextlib.suppress(OSError), socket.create_connection((near, int(near_port)), timeout=20) as connection:
            return connection.recv(4) == b"SSH-"
        return False

    @contextlib.contextmanager
    def lock(self, directory: Path, reason: str) -> Iterator[None]:
        """Hold the lock there by a process that ends with the connection."""
        path = directory / LOCK_FILE
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        who = {"pid": os.getpid(), "user": getpass.getuser(), "host": socket.gethostname(), "since": since, "command": reason}
        # The shell there fills in its own process, by which the lock can be broken.
        holder = json.dumps(who).replace("%", "%%").replace("\\", "\\\\")[:-1] + ', "shell": %d}'
        held = process.hold(ssh_command.over(self.name, self._socket(), ssh_command.lock(path, holder)))
        try:
            held.lines(ssh_command.READY, 60)
        except CommandFailed as failure:
            held.end()
            raise self._not_locked(directory, failure) from failure
        try:
            yield
        finally:
            held.end()

    def break_lock(self, directory: Path) -> str:
        """Free the stack's lock, and return who held it; "" when nobody did."""
        path = directory / LOCK_FILE
        holder = _holder(self.get(path) or b"")
        if holder:
            done = self._over(ssh_command.break_lock(path, int(str(holder.get("shell", 0)))), ("break", str(path)))
            return lock_holder(holder) if done.code == 0 else ""
        return ""

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
                held = process.hold(ssh_command.connect(self.name, path, interactive=sys.stdin.isatty(), asks_about_keys=asks))
                try:
                    lines = held.lines(ssh_command.READY, _CONNECT_DEADLINE)
                except CommandFailed as failure:
                    held.end()
                    raise ssh_command.explained(failure, self.name, resolved) from failure
                self._master = held
                facts = lines[lines.index(ssh_command.BEGIN) + 1 :] if ssh_command.BEGIN in lines else lines
                self._facts = dict(zip(ssh_command.FACTS, facts, strict=False))
            return path

    def _over(self, command: str, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60) -> Completed:
        """Run the command over the shared connection; raise CommandFailed when that was lost.

        The code 255 is ssh's own word for it.
        """
        try:
            done = process.run(ssh_command.over(self.name, self._socket(), command), stdin=stdin, timeout=timeout, check=False)
        except CommandFailed as failure:
            what, where = failure.what.replace("ssh", argv[0], 1), f"{self.name}: {shlex.join(argv)}"
            raise failure.with_(what=what, where=where, argv=tuple(argv)) from failure
        if done.code == 255 and self._master and not self._alive():
            raise self._lost(argv)
        return done

    def _alive(self) -> bool:
        # ssh ends a moment after what it carried.
        return not wait_until(lambda: not (self._master and self._master.alive), 1, 0.05)

    def _lost(self, argv: Sequence[str]) -> CommandFailed:
        return CommandFailed(
            f"the connection to {self.name} was lost",
            where=f"{self.name}: {shlex.join(argv)}",
            hint="the same command again goes on from where this one was",
            left_as="what was done so far stays; what ran still runs",
            argv=tuple(argv),
            returncode=LOST,
        )

    def _code(self, argv: Sequence[str], cwd: Path | None, word: str, said: bytes) -> int:
        """Return the program's code as a local one has it.

        Raise CommandFailed when it was not started, or the connection was lost.
        """
        if not word:
            raise self._lost(argv)
        with self._named():
            if ssh_command.no_directory(word):
                raise process.no_directory(argv, cwd)
            code = ssh_command.code_of(word)
            text = said.decode(errors="replace")
            if code == 127 and ("not found" in text or "No such file" in text):
                raise process.missing(argv)
            if code == 126:
                raise process.not_executable(argv, text)
            return code

    def _changes(self, env: Mapping[str, str] | None) -> dict[str, str | None]:
        """Return what makes the host's variables into those; None unsets one.

        Only differences are on a command line, where others there can see them.
        """
        if env is None:
            return {}
        have = self.environment()
        unset: dict[str, str | None] = {name: None for name in have if name not in env}
        return unset | {name: value for name, value in env.items() if have.get(name) != value}

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Run the block with errors that name the host."""
        try:
            yield
        except CommandFailed as failure:
            raise failure.with_(where=f"{self.name}: {failure.where}") from failure

    def _change(self, path: Path, done_to_it: str, command: str, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60) -> None:
        """Run the shell command to its end.

        Raise ProvisionError, which says of the file what could not be done to it, and why.
        """
        done = self._over(command, argv, stdin, timeout)
        if done.code == 0:
            return
        reason = done.error_text.splitlines()[-1].rpartition(": ")[2] if done.error_text else "the connection was lost"
        hint = "check the directory's owner, permissions and free space there"
        raise ProvisionError(f"{path} cannot be {done_to_it}: {reason}", where=f"{self.name}:{path}", hint=hint)

    def _not_locked(self, directory: Path, failure: CommandFailed) -> ProvisionError:
        lines = failure.output.splitlines()
        if ssh_command.TAKEN in lines:
            return Locked(
                "another command works on this stack",
                where=f"{self.name}:{directory}",
                why=lock_holder(_holder("\n".join(lines[: lines.index(ssh_command.TAKEN)]).encode())),
                hint="wait for it to end, then try again; if its machine is gone, `provision deploy --break-lock`",
            )
        if "flock" in failure.output and "not found" in failure.output:
            return PreflightError("the program flock is not there", where=self.name, hint="install the package util-linux there")
        if self._master and not self._alive():
            return self._lost(("lock", str(directory)))
        reason = lines[-1].rpartition(": ")[2] if lines else "no reason given"
        return ProvisionError(
            f"{directory / LOCK_FILE} cannot be written: {reason}",
            where=f"{self.name}:{directory}",
            hint="check the directory's owner, permissions and free space there",
        )


LOST = 255
"""The code of the error of a lost connection."""


def _holder(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
