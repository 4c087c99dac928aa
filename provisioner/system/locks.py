"""The one door to locks of this machine: files that the operating system locks.

So a lock ends with its holder, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from provisioner.errors import Locked
from provisioner.system.files import open_own
from provisioner.system.wait import wait_until

# What says who holds a lock is shorter.
_LONGEST = 4096


@contextlib.contextmanager
def hold(
    path: Path,
    command: str,
    busy: str,
    *,
    wait: float = 0,
    on_wait: Callable[[], None] | None = None,
    where: str = "",
) -> Iterator[None]:
    """Hold the lock of that file for the block; the file says who holds it, for those who meet it.

    On a full disk, and a file that is there on one that is read only, it is held all the same.
    Wait for another holder that many seconds, after a call of `on_wait`; then raise Locked, with `busy` as
    what. OSError is of the file.
    """
    handle = _opened(path)
    try:
        if not _taken(handle):
            if wait and on_wait:
                on_wait()
            if not wait or not wait_until(lambda: _taken(handle), wait, 0.2):
                raise Locked(
                    busy,
                    where=where or str(path),
                    why=_who(handle),
                    hint="wait for it to end, then try again",
                )
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%H:%M:%S"),
            "command": command,
        }
        _write(handle, json.dumps(holder))
        yield
        _write(handle, "")
    finally:
        os.close(handle)


def lock_holder(holder: Mapping[str, object]) -> str:
    """Return who holds a lock, and since when.

    It is "" when the lock was just taken, and its holder has not said yet who it is.
    """
    try:
        what = f"provision {holder['command']}, process {holder['pid']}, since {holder['since']}"
        return f"{what}, by {holder['user']} on {holder['host']}" if "user" in holder else what
    except KeyError:
        return ""


def _opened(path: Path) -> int:
    try:
        return open_own(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        # A lock of what can only be read needs no more.
        if error.errno != errno.EROFS or not path.exists():
            raise
        return open_own(path, os.O_RDONLY)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(handle: int, text: str) -> None:
    # A file of two names may be another's file.
    if os.fstat(handle).st_nlink > 1:
        return
    # What holds is the lock, and not what stands in its file: a full disk must not keep us from freeing it.
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


def _who(handle: int) -> str:
    try:
        return lock_holder(json.loads(os.pread(handle, _LONGEST, 0)))
    except (OSError, ValueError, TypeError):
        return ""
