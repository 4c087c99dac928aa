"""Files of other people's projects: each written whole or not at all, with the mode and owner it had."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from provisioner.errors import ProvisionError

NEW_FILE = 0o644


def read_file(path: Path) -> bytes | None:
    """Return the file's bytes; None when there is none.

    Raise ProvisionError when it cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _failed(path, "read", error) from error


def file_mode(path: Path) -> int | None:
    """Return the file's permissions; None when there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def replace_file(path: Path, content: bytes, mode: int | None = None) -> None:
    """Give the file that content; raise ProvisionError when that fails.

    It has the mode `mode`, else an old file its own, a new one 0644 (less the umask). Root leaves an old file
    its owner, and gives a new one the directory's.
    """
    # A symbolic link stays one: its target changes.
    target = Path(os.path.realpath(path))
    try:
        old = file_mode(target)
        like = target if old is not None else target.parent
        wanted = mode if mode is not None else NEW_FILE & ~_umask() if old is None else old
        write_whole(target, content, wanted, lambda name: _give_to_owner(name, like))
    except OSError as error:
        raise _failed(path, "written", error) from error


def write_whole(
    path: Path, content: bytes, mode: int, prepare: Callable[[str], None] = lambda _: None
) -> None:
    """Write the file whole, in place of a former one, or leave it as it was; raise OSError when that fails.

    `prepare` gets the name of what is written before it takes the file's place.
    """
    with writing_whole(path, mode, prepare) as file:
        file.write(content)


@contextlib.contextmanager
def writing_whole(
    path: Path, mode: int, prepare: Callable[[str], None] = lambda _: None
) -> Iterator[IO[bytes]]:
    """Run the block with a stream whose bytes take the file's place if it ends well; else leave it as it was.

    `prepare` is that of `write_whole`.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            os.fchmod(file.fileno(), mode)
            prepare(name)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def remove_file(path: Path) -> None:
    """Remove the file, if it is there; raise ProvisionError when that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _failed(path, "removed", error) from error


def make_folders(path: Path) -> list[Path]:
    """Make the directory and those above it; return those that were made, outermost first."""
    made: list[Path] = []
    try:
        for folder in reversed((path, *path.parents)):
            if not folder.is_dir():
                folder.mkdir()
                _give_to_owner(folder, folder.parent)
                made.append(folder)
    except OSError as error:
        raise _failed(path, "made", error) from error
    return made


def remove_empty_folder(path: Path) -> bool:
    """Remove the directory if it is empty; return whether it was removed."""
    try:
        path.rmdir()
    except OSError:
        return False
    return True


def _give_to_owner(path: str | Path, like: Path) -> None:
    """Give the path the owner of `like`, as root: a write must not take a project away from its owner."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _failed(path: Path, verb: str, error: OSError) -> ProvisionError:
    return ProvisionError(
        f"{path} cannot be {verb}: {error.strerror}",
        where=str(path),
        hint="check its owner, permissions and the free space there",
    )
