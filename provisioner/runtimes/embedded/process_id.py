"""Which process that is: an identity that survives the reuse of process numbers, and changes of the clock."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provisioner.system.wait import wait_until

_ON_LINUX = sys.platform.startswith("linux")
_CLOCK_TOLERANCE = 3.0


@dataclass(frozen=True)
class Mark:
    """A process by its number and its start: the kernel's ticks on Linux, seconds of the clock elsewhere."""

    pid: int
    started: str


def mark_of(pid: int) -> Mark | None:
    """Return the mark of a process that runs; None when there is none, or only a zombie."""
    started = _linux_start(pid) if _ON_LINUX else _start_by_clock(pid)
    return Mark(pid, started) if started else None


def is_alive(mark: Mark) -> bool:
    """Return whether that very process runs."""
    now = mark_of(mark.pid)
    if now is None or _ON_LINUX:
        return now == mark
    try:
        return abs(float(now.started) - float(mark.started)) <= _CLOCK_TOLERANCE
    except ValueError:
        return False


def belongs_to(mark: Mark, uid: int) -> bool:
    """Return whether the process runs as that user."""
    import psutil

    try:
        return bool(psutil.Process(mark.pid).uids().real == uid)
    except psutil.Error:
        return False


def end(marks: Sequence[Mark], number: int, deadline: float) -> list[Mark]:
    """Send the signal; return those that still run after at most that many seconds."""
    for mark in marks:
        if is_alive(mark):
            with suppress(ProcessLookupError):
                os.kill(mark.pid, number)
    return wait_for_end(marks, deadline)


def wait_for_end(marks: Sequence[Mark], deadline: float) -> list[Mark]:
    """Wait at most that many seconds for the processes to end; return those that still run."""
    wait_until(lambda: not any(is_alive(mark) for mark in marks), deadline, 0.05)
    return [mark for mark in marks if is_alive(mark)]


def end_for_sure(marks: Sequence[Mark], number: int, deadline: float) -> list[Mark]:
    """End the processes by the signal, after that many seconds by SIGKILL; return those that still run."""
    left = end(marks, number, deadline)
    return end(left, signal.SIGKILL, 10) if left else []


def _linux_start(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field may hold spaces and parentheses; the state is the third, the start time the
    # twenty-second.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _start_by_clock(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.Error:
        return ""
