"""A host over one connection of the system's own `ssh`, with the user's settings, agent and known hosts."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from provisioner.errors import CommandFailed, Locked, PreflightError, ProvisionError
from provisioner.system import listeners, process, ssh_command, streams
from provisioner.system.host import LOCK_FILE
from provisioner.system.locks import lock_holder
from provisioner.system.process import Completed
from provisioner.system.ssh_connection import Connection

# The exit code of a shell that could not open a file.
_NO_FILE = 66


class SSHHost:
    """The machine that `ssh DESTINATION` leads to."""

    is_remote = True

    def __init__(self, destination: str) -> None:
        self.name = destination
        self.connection = Connection(destination)
        self._environment: dict[str, str] | None = None

    @property
    def facts(self) -> Mapping[str, str]:
        """Return what the host told of itself when it was connected to; see `Connection.facts`."""
        return self.connection.facts

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
        done = self.connection.run(ssh_command.remote(argv, cwd, self._changes(env)), argv, stdin, timeout)
        stderr, exit_marker = ssh_command.ended(done.stderr)
        code = self._code(argv, cwd, exit_marker, stderr)
        completed = Completed(tuple(argv), code, done.stdout, stderr)
        if check or code < 0:
            with self.connection.named():
                process.raise_on_failure(argv, code, completed.error_text or completed.text)
        return completed

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, cwd: Path, env: Mapping[str, str]
    ) -> None:
        command = ssh_command.remote(argv, cwd, self._changes(env), guarded=True)
        last: list[str] = []
        exit_marker = ""

        def line(text: str) -> None:
            nonlocal exit_marker
            exit_marker = ssh_command.ended_line(text) or exit_marker
            # The empty line belongs to the last one.
            if not exit_marker and text:
                last[:] = [*last[-19:], text]
                on_line(text)

        with contextlib.suppress(CommandFailed):
            process.stream(self.connection.argv(command), line, held=True)
        said = "\n".join(last)
        with self.connection.named():
            process.raise_on_failure(argv, self._code(argv, cwd, exit_marker, said.encode()), said)

    def transfer(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        # One that is given nothing to read is ended with the connection.
        command = ssh_command.remote(argv, cwd, self._changes(env), guarded=stdin is None)
        ssh = self.connection.argv(command)
        done = streams.transfer(ssh, stdin=stdin, stdout=stdout, held=stdin is None, check=False)
        stderr, exit_marker = ssh_command.ended(done.stderr)
        code = self._code(argv, cwd, exit_marker, stderr)
        with self.connection.named():
            process.raise_on_failure(argv, code, stderr.decode(errors="replace").strip())

    @contextlib.contextmanager
    def open_read(self, path: Path) -> Iterator[IO[bytes]]:
        # What is opened first tells a file that is not there from a connection that is lost.
        file = shlex.quote(str(path))
        script = (
            f'if [ -e {file} ] && [ ! -f {file} ]; then echo "no regular file" >&2; exit {_NO_FILE}; fi\n'
            f"exec 3<{file} || exit {_NO_FILE}; cat <&3"
        )
        argv = self.connection.argv(ssh_command.in_sh(script))
        try:
            with streams.reading(argv) as stream:
                yield stream
        except CommandFailed as failure:
            # The block may fail by a program of its own.
            if failure.argv != tuple(argv):
                raise
            refused = self._refused(path, "read", failure.output)
            raise (
                refused
                if failure.returncode == _NO_FILE
                else self.connection.lost_or(("cat", str(path)), refused)
            ) from failure

    @contextlib.contextmanager
    def open_write(self, path: Path, mode: int) -> Iterator[IO[bytes]]:
        # A lost connection looks like the end of the file: what arrived is counted before it takes the file's
        # place.
        new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        argv = self.connection.argv(ssh_command.receive(new))
        try:
            with streams.writing(argv) as sent:
                yield sent
            if sent.output.strip() != str(sent.count).encode():
                raise self.connection.lost(("receive", str(path)))
            self._change(path, "written", ssh_command.take_place(new, path, mode), ("mv", str(path)))
        except BaseException as error:
            with contextlib.suppress(ProvisionError):
                self.remove(new)
            if not isinstance(error, CommandFailed) or error.argv != tuple(argv):
                raise
            raise self.connection.lost_or(
                ("receive", str(path)), self._refused(path, "written", error.output)
            ) from error

    def attach(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> int:
        terminal = sys.stdin.isatty()
        command = f"cd -- {shlex.quote(str(cwd))} && {shlex.join(argv)}"
        del env  # the host's own serves a person who looks
        return process.attach(self.connection.argv(ssh_command.in_sh(command), terminal=terminal))

    def put(self, content: bytes, path: Path, mode: int) -> None:
        self._change(
            path, "written", ssh_command.put(path, len(content), mode), ("put", str(path)), content, 600
        )

    def get(self, path: Path) -> bytes | None:
        return self.read([path])[path]

    def read(self, paths: Sequence[Path]) -> dict[Path, bytes | None]:
        return self._read(paths) if paths else {}

    def _read(self, paths: Sequence[Path], within: Path | None = None) -> dict[Path, bytes | None]:
        """Return the content of each file; raise ProvisionError where `within`, if given, is a link."""
        command = ssh_command.read_all(paths, within)
        done = self.connection.run(command, ("get", *map(str, paths)), b"", 600)
        if within and done.code != 0:
            raise self._refused(within, "looked at", done.error_text)
        found: dict[Path, bytes | None] = {}
        for path, content in zip(paths, ssh_command.parse_files(done.stdout, len(paths)), strict=True):
            if isinstance(content, str):
                raise ProvisionError(
                    f"{path} cannot be read",
                    where=f"{self.name}:{path}",
                    hint="check its owner and permissions there",
                )
            found[path] = content
        return found

    def read_below(self, directory: Path, names: Sequence[str]) -> dict[str, bytes | None]:
        # There we are the account that owns the files, and read with its rights alone.
        found = self._read([directory / name for name in names], directory) if names else {}
        return {path.relative_to(directory).as_posix(): content for path, content in found.items()}

    def make_directory(self, path: Path, mode: int) -> None:
        file = shlex.quote(str(path))
        script = f"umask 077; {ssh_command.no_link(path)}; mkdir -p -- {file} && chmod {mode:o} {file}"
        self._change(path, "made", ssh_command.in_sh(script), ("mkdir", str(path)))

    def has_directory(self, path: Path) -> bool:
        return (
            self.connection.run(
                ssh_command.in_sh(f"[ -d {shlex.quote(str(path))} ]"), ("test", str(path))
            ).code
            == 0
        )

    def directory_mode(self, path: Path) -> int | None:
        file = shlex.quote(str(path))
        script = f"{ssh_command.no_link(path)}; if [ -d {file} ]; then stat -c %a -- {file}; fi"
        argv = ("stat", str(path))
        done = self.connection.run(ssh_command.in_sh(script), argv, b"", 60)
        if done.code != 0:
            raise self._refused(path, "looked at", done.error_text)
        return int(done.text, 8) if done.text else None

    def remove(self, *paths: Path) -> None:
        files = [str(path) for path in paths]
        self._change(paths[0], "removed", ssh_command.in_sh(f"rm -rf -- {shlex.join(files)}"), ("rm", *files))

    def append(self, line: str, path: Path, mode: int) -> None:
        file = shlex.quote(str(path))
        script = f"umask 077; {ssh_command.own(path)}; cat >>{file} && chmod {mode:o} {file}"
        self._change(path, "written", ssh_command.in_sh(script), ("append", str(path)), line.encode() + b"\n")

    def has_address(self, address: str) -> bool:
        script = listeners.FOREIGN.format(address=address, version=6 if ":" in address else 4)
        said = self.connection.run(ssh_command.in_sh(script), ("ip", "route", "get", address)).text
        return said != listeners.IS_FOREIGN

    def is_free(self, address: str, port: int) -> bool:
        tables = self.connection.run(
            ssh_command.in_sh("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"), ("cat", "/proc/net/tcp")
        ).text
        return not listeners.listens(tables, address, port)

    def holder(self, port: int) -> str:
        text = self.connection.run(
            ssh_command.in_sh(listeners.HOLDER.format(port=port)), ("ss", str(port))
        ).text
        return listeners.parse_holder(text)

    def forward(self, address: str) -> str:
        return self.connection.forward(address)

    def reaches(self) -> bool:
        """Return whether the server lets connections through, as `forward` needs.

        Its own SSH server answers through one.
        """
        *_, address, port = self.facts["connection"].split()
        near, near_port = self.forward(
            f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        ).split(":")
        with (
            contextlib.suppress(OSError),
            socket.create_connection((near, int(near_port)), timeout=20) as connection,
        ):
            return connection.recv(4) == b"SSH-"
        return False

    @contextlib.contextmanager
    def lock(self, directory: Path, reason: str) -> Iterator[None]:
        """Hold the lock there by a process that ends with the connection."""
        path = directory / LOCK_FILE
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        who = {
            "pid": os.getpid(),
            "user": getpass.getuser(),
            "host": socket.gethostname(),
            "since": since,
            "command": reason,
        }
        # The shell there fills in its own process, by which the lock can be broken.
        holder = json.dumps(who).replace("%", "%%").replace("\\", "\\\\")[:-1] + ', "shell": %d}'
        held = process.hold(self.connection.argv(ssh_command.lock(path, holder)))
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
            done = self.connection.run(
                ssh_command.break_lock(path, int(str(holder.get("shell", 0)))), ("break", str(path))
            )
            return lock_holder(holder) if done.code == 0 else ""
        return ""

    def _code(self, argv: Sequence[str], cwd: Path | None, exit_marker: str, said: bytes) -> int:
        """Return the program's code as a local one has it.

        Raise CommandFailed when it was not started, or the connection was lost.
        """
        if not exit_marker:
            raise self.connection.lost(argv)
        with self.connection.named():
            if ssh_command.no_directory(exit_marker):
                raise process.no_directory(argv, cwd)
            code = ssh_command.code_of(exit_marker)
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

    def _change(
        self,
        path: Path,
        done_to_it: str,
        command: str,
        argv: Sequence[str],
        stdin: bytes = b"",
        timeout: float = 60,
    ) -> None:
        """Run the shell command to its end.

        Raise ProvisionError, which says of the file what could not be done to it, and why.
        """
        done = self.connection.run(command, argv, stdin, timeout)
        if done.code == 0:
            return
        raise self._refused(path, done_to_it, done.error_text)

    def _refused(self, path: Path, done_to_it: str, said: str) -> ProvisionError:
        """Return the error for what could not be done to a file there, with the last that a program said."""
        reason = (
            said.strip().splitlines()[-1].rpartition(": ")[2] if said.strip() else "the connection was lost"
        )
        hint = (
            "check its owner and permissions"
            if done_to_it == "read"
            else "check the directory's owner, permissions and free space"
        )
        return ProvisionError(
            f"{path} cannot be {done_to_it}: {reason}", where=f"{self.name}:{path}", hint=f"{hint} there"
        )

    def _not_locked(self, directory: Path, failure: CommandFailed) -> ProvisionError:
        lines = failure.output.splitlines()
        if ssh_command.TAKEN in lines:
            return Locked(
                "another command works on this stack",
                where=f"{self.name}:{directory}",
                why=lock_holder(_holder("\n".join(lines[: lines.index(ssh_command.TAKEN)]).encode())),
                hint=(
                    "wait for it to end, then try again; "
                    "if its machine is gone, `provision deploy --break-lock`"
                ),
            )
        if "flock" in failure.output and "not found" in failure.output:
            return PreflightError(
                "the program flock is not there", where=self.name, hint="install the package util-linux there"
            )
        if not self.connection.is_alive():
            return self.connection.lost(("lock", str(directory)))
        reason = lines[-1].rpartition(": ")[2] if lines else "no reason given"
        return ProvisionError(
            f"{directory / LOCK_FILE} cannot be written: {reason}",
            where=f"{self.name}:{directory}",
            hint="check the directory's owner, permissions and free space there",
        )


def _holder(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
