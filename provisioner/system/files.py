"""Files of stacks and projects: read only where they are files, written whole or not at all.

What is written anew keeps the mode and owner it had.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from provisioner.errors import ProvisionError

NEW_FILE = 0o644
# Far more than any file that is read as a whole has.
LARGEST = 64 << 20
# A named pipe that nobody writes to would keep a plain open waiting for good.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# What may be entered need not be open to be listed.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


def read_file(path: Path) -> bytes | None:
    """Return the file's bytes; None when there is none.

    Raise ProvisionError when it cannot be read, is no regular file, or has more than LARGEST bytes.
    """
    return _read(path, lambda: open_file(path))


def read_below(directory: Path, name: str) -> bytes | None:
    """Return the bytes of the file of that name below the directory: `read_file`, opened by `open_below`."""
    return _read(directory / name, lambda: open_below(directory, name))


def open_file(path: Path) -> IO[bytes]:
    """Open the file to be read; raise OSError, or ProvisionError where it is no regular file."""
    return _regular(os.open(path, _READ), path)


def open_below(directory: Path, name: str) -> IO[bytes]:
    """Open the file of that name below the directory to be read, whatever other accounts did there.

    Raise ProvisionError for a symbolic link in a folder that another account may change, and for a file there
    that is neither its own nor ours; else as `open_file`.
    """
    path, folder = directory, os.open(directory, _FOLDER)
    *above, last = Path(name).parts
    try:
        for part in above:
            path /= part
            below = _open_part(path, _FOLDER, folder)
            os.close(folder)
            folder = below
        file = _regular(_open_part(path / last, _READ, folder), path / last)
        owner = os.fstat(file.fileno()).st_uid
        if not _is_ours(folder) and owner not in {os.geteuid(), os.fstat(folder).st_uid}:
            file.close()
            raise _refused(
                path / last,
                f"it belongs to another user (uid {owner})",
                "if it is the right file, give it to the owner of its directory; else remove it",
            )
        return file
    finally:
        os.close(folder)


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
        raise file_error(path, "written", error) from error


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
        raise file_error(path, "removed", error) from error


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
        raise file_error(path, "made", error) from error
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


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open the file itself, to be read and written, never what a link in its place leads to.

    Raise OSError, or ProvisionError for a link and for what is no regular file.
    """
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    except OSError as error:
        if not path.is_symlink():
            raise
        hint = f"see where it leads, then remove it: `rm {shlex.quote(str(path))}`"
        raise _refused(path, "it is a symbolic link", hint, "written") from error
    _check_regular(handle, path, "written")
    return handle


def _read(path: Path, opened: Callable[[], IO[bytes]]) -> bytes | None:
    content = bytearray()
    try:
        with opened() as file:
            # Its size is no promise: it may grow meanwhile.
            while len(content) <= LARGEST and (piece := file.read(1 << 20)):
                content += piece
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise file_error(path, "read", error) from error
    if len(content) > LARGEST:
        raise _refused(path, f"it has more than {LARGEST >> 20} MiB", "put the right file in its place")
    return bytes(content)


def _regular(handle: int, path: Path) -> IO[bytes]:
    _check_regular(handle, path, "read")
    return os.fdopen(handle, "rb")


def _check_regular(handle: int, path: Path, verb: str) -> None:
    """Close what is open and raise where it is no regular file."""
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device"
    raise _refused(path, f"it is {kind}, no regular file", "put a file in its place, or remove it", verb)


def _open_part(path: Path, flags: int, folder: int) -> int:
    """Open what the path ends with in the open folder; follow a link only where none but us could put it."""
    if _is_ours(folder):
        return os.open(path.name, flags, dir_fd=folder)
    try:
        return os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        # Systems differ in what they say of a link.
        if not stat.S_ISLNK(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise
        raise _refused(
            path,
            "it is a symbolic link in a directory that another user may change",
            "find out who made the link; then put a file in its place, or remove it",
        ) from error


def _is_ours(folder: int) -> bool:
    """Return whether nobody but us and root may change what is in the open folder."""
    found = os.fstat(folder)
    return found.st_uid in {0, os.geteuid()} and not found.st_mode & stat.S_IWOTH


def _refused(path: Path, why: str, hint: str, verb: str = "read") -> ProvisionError:
    return ProvisionError(f"{path} cannot be {verb}: {why}", where=str(path), hint=hint)


def file_error(path: Path, verb: str, error: OSError) -> ProvisionError:
    """Return the error for a file that cannot be read, or written, removed or made."""
    return ProvisionError(
        f"{path} cannot be {verb}: {error.strerror}",
        where=str(path),
        hint="check its owner"
        + (" and permissions" if verb == "read" else ", permissions and the free space there"),
    )
