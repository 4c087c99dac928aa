"""A host: where a stack lives. This machine here; one over SSH, with the same verbs, in `ssh.py`."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from provisioner.errors import PreflightError, ProvisionError
from provisioner.system import locks, ports, process, streams
from provisioner.system.files import (
    file_error,
    file_mode,
    open_file,
    open_own,
    read_below,
    read_file,
    write_whole,
    writing_whole,
)
from provisioner.system.process import Completed

LOCK_FILE = ".lock"


class Host(Protocol):
    """Run a program (and follow it, or hand it the terminal), put and get a file, hold a lock."""

    name: str
    """How `ssh` is told to reach it; "" for this machine."""
    is_remote: bool
    """Whether it is another machine, reached over SSH."""

    def environment(self) -> dict[str, str]:
        """Return the variables that programs have there."""

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
        """Run a program to its end, and return how it ended; raise errors as `system.process.run`."""

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, cwd: Path, env: Mapping[str, str]
    ) -> None:
        """Run a long program, and hand on each line that it writes, as it comes."""

    def attach(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> int:
        """Run a program that has the terminal, and return its code."""

    def transfer(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a program to its end, however long that takes, with these open files of ours as its streams.

        Raise CommandFailed as `run`; nothing of any size is held in memory.
        """

    def open_read(self, path: Path) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open the file to be read as a stream; raise ProvisionError when it cannot be."""

    def open_write(self, path: Path, mode: int) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a stream whose bytes become the file, whole when the block ends well, or not at all.

        Make missing directories.
        """

    def put(self, content: bytes, path: Path, mode: int) -> None:
        """Write the file whole or not at all; make missing directories."""

    def get(self, path: Path) -> bytes | None:
        """Return the file's content; None when there is none."""

    def read(self, paths: Sequence[Path]) -> dict[Path, bytes | None]:
        """Return the content of each file, as `get` gives it."""

    def read_below(self, directory: Path, names: Sequence[str]) -> dict[str, bytes | None]:
        """Return the content of each file of the directory, as `get`, where another account may change it.

        A link of such an account is not followed: it may lead to what we alone can read. Raise ProvisionError
        when the directory itself is a link, whoever made it.
        """

    def make_directory(self, path: Path, mode: int) -> None:
        """Make the directory if it is not there, and give it that mode.

        Raise ProvisionError when it is a link: what that leads to stays as it is.
        """

    def has_directory(self, path: Path) -> bool:
        """Return whether the path is a directory."""

    def directory_mode(self, path: Path) -> int | None:
        """Return the directory's permissions; None where there is none.

        Raise ProvisionError when it is a link.
        """

    def remove(self, *paths: Path) -> None:
        """Remove what is there: a file, or a directory with what is in it."""

    def append(self, line: str, path: Path, mode: int) -> None:
        """Append the line to the file, which is made if it is not there, and give it that mode."""

    def has_address(self, address: str) -> bool:
        """Return whether a server there can listen on that address; True where nobody can say."""

    def is_free(self, address: str, port: int) -> bool:
        """Return whether nobody listens there.

        A port that this user may not open is free: the runtime, which opens it, may.
        """

    def holder(self, port: int) -> str:
        """Return who listens on the port; "" when this user may not see it."""

    def forward(self, address: str) -> str:
        """Return HOST:PORT by which this machine reaches what listens at that HOST:PORT of the host."""

    def lock(self, directory: Path, reason: str) -> contextlib.AbstractContextManager[None]:
        """Hold the stack until the context ends; raise Locked, with who holds it, when another does."""


class LocalHost:
    """This machine."""

    name = ""
    is_remote = False

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

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
        return process.run(argv, cwd=cwd, env=env, stdin=stdin, timeout=timeout, check=check)

    def stream(
        self, argv: Sequence[str], on_line: Callable[[str], None], *, cwd: Path, env: Mapping[str, str]
    ) -> None:
        process.stream(argv, on_line, cwd=cwd, env=env)

    def attach(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> int:
        return process.attach(argv, cwd=cwd, env=env)

    def transfer(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        streams.transfer(argv, stdin=stdin, stdout=stdout, cwd=cwd, env=env)

    @contextlib.contextmanager
    def open_read(self, path: Path) -> Iterator[IO[bytes]]:
        try:
            file = open_file(path)
        except OSError as error:
            raise file_error(path, "read", error) from error
        with file:
            yield file

    @contextlib.contextmanager
    def open_write(self, path: Path, mode: int) -> Iterator[IO[bytes]]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing_whole(path, mode) as file:
                yield file
        except OSError as error:
            # What the block opened itself is named in its own error.
            if error.filename and Path(error.filename).parent not in {path.parent, *path.parents}:
                raise
            raise _not_written(path, error) from error

    def put(self, content: bytes, path: Path, mode: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, mode)
        except OSError as error:
            raise _not_written(path, error) from error

    def get(self, path: Path) -> bytes | None:
        return read_file(path)

    def read(self, paths: Sequence[Path]) -> dict[Path, bytes | None]:
        return {path: self.get(path) for path in paths}

    def read_below(self, directory: Path, names: Sequence[str]) -> dict[str, bytes | None]:
        refuse_link(directory)
        return {name: read_below(directory.parent, f"{directory.name}/{name}") for name in names}

    def make_directory(self, path: Path, mode: int) -> None:
        try:
            refuse_link(path)
            path.mkdir(mode=mode, parents=True, exist_ok=True)
            if file_mode(path) != mode:
                _set_mode(path, mode)
        except OSError as error:
            raise _not_written(path, error) from error

    def has_directory(self, path: Path) -> bool:
        return path.is_dir()

    def directory_mode(self, path: Path) -> int | None:
        refuse_link(path)
        return file_mode(path) if path.is_dir() else None

    def remove(self, *paths: Path) -> None:
        for path in paths:
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise _not_written(path, error) from error

    def append(self, line: str, path: Path, mode: int) -> None:
        try:
            handle = open_own(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)
            with open(handle, "a", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(line + "\n")
        except OSError as error:
            raise _not_written(path, error) from error

    def has_address(self, address: str) -> bool:
        return ports.has_address(address)

    def is_free(self, address: str, port: int) -> bool:
        return ports.is_free(address, port)

    def holder(self, port: int) -> str:
        return ports.holder(port)

    def forward(self, address: str) -> str:
        return address

    @contextlib.contextmanager
    def lock(self, directory: Path, reason: str) -> Iterator[None]:
        path = directory / LOCK_FILE
        with contextlib.ExitStack() as stack:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                stack.enter_context(
                    locks.hold(path, reason, "another command works on this stack", where=str(directory))
                )
            except OSError as error:
                raise _not_written(path, error) from error
            yield


def host_memory_mb() -> int:
    """Return this machine's memory in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)


def refuse_link(path: Path) -> None:
    """Raise PreflightError when there is a link in place of a directory of the stack's own."""
    if path.is_symlink():
        raise PreflightError(
            f"{path} is a link to {path.readlink()}",
            where=str(path),
            why="a stack keeps that in a directory of its own, and does nothing to what a link leads to",
            hint=f"`rm {shlex.quote(str(path))}`, and put a directory with what is the stack's in its place",
        )


def _set_mode(path: Path, mode: int) -> None:
    """Give the directory that mode, and no link that took its place meanwhile."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except PermissionError:
        # Its owner may not read it. Root, whom a link could lead to all other files, may read everything.
        path.chmod(mode)
        return
    try:
        os.fchmod(opened, mode)
    finally:
        os.close(opened)


def _not_written(path: Path, error: OSError) -> ProvisionError:
    return ProvisionError(
        f"{path} cannot be written: {error.strerror}",
        where=str(path),
        hint="check the directory's owner, permissions and free space",
    )
