"""The one door to locks of this machine: files that the operating system locks.

So a lock ends with its holder, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from provisioner.errors import Locked
from provisioner.system.wait import wait_until


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

    Wait for another holder that many seconds, after a call of `on_wait`; then raise Locked, with `busy` as
    what. OSError is of the file.
    """
    with open(path, "a+", encoding="utf-8") as file:
        if not _taken(file):
            if wait and on_wait:
                on_wait()
            if not wait or not wait_until(lambda: _taken(file), wait, 0.2):
                raise Locked(
                    busy, where=where or str(path), why=_who(path), hint="wait for it to end, then try again"
                )
        file.truncate(0)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%H:%M:%S"),
            "command": command,
        }
        file.write(json.dumps(holder))
        file.flush()
        yield
        file.truncate(0)


def lock_holder(holder: Mapping[str, object]) -> str:
    """Return who holds a lock, and since when.

    It is "" when the lock was just taken, and its holder has not said yet who it is.
    """
    try:
        what = f"provision {holder['command']}, process {holder['pid']}, since {holder['since']}"
        return f"{what}, by {holder['user']} on {holder['host']}" if "user" in holder else what
    except KeyError:
        return ""


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _who(path: Path) -> str:
    try:
        return lock_holder(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return ""
