"""CPU time of processes by the kernel's count of each of their threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

LOOK_SECONDS = 0.1
# So often in a row they may need no more than this share of a core: some look for work now and then.
QUIET_LOOKS, QUIET_SHARE = 3, 0.25

# Nanoseconds that each thread has run, by process and thread.
Spent = dict[tuple[int, str], int]


def spent(processes: Iterable[psutil.Process]) -> Spent:
    """Return what all threads of these processes and of their children have spent so far.

    A thread that has ended is not there any more; servers keep theirs.
    """
    found: Spent = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for pid in (process.pid, *(child.pid for child in process.children(recursive=True))):
                for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                    with contextlib.suppress(OSError):
                        found[pid, thread.parent.name] = int(thread.read_text().split()[0])
    return found


def seconds_between(before: Spent, after: Spent) -> float:
    """Return the seconds of CPU that were spent between both."""
    return sum(there - before.get(thread, 0) for thread, there in after.items()) / 1e9


def wait_until_quiet(processes: Iterable[psutil.Process]) -> None:
    """Wait until the processes have done next to nothing for a moment.

    Raise RuntimeError after a minute.
    """
    watched, end, quiet = list(processes), time.monotonic() + 60, 0
    while quiet < QUIET_LOOKS:
        if time.monotonic() > end:
            raise RuntimeError("the server is still at work a minute after the load")
        before = spent(watched)
        time.sleep(LOOK_SECONDS)
        busy = seconds_between(before, spent(watched)) > QUIET_SHARE * LOOK_SECONDS
        quiet = 0 if busy else quiet + 1
