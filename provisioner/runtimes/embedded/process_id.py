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
class ProcessId:
    """A process by its number and its start: the kernel's ticks on Linux, seconds of the clock elsewhere."""

    pid: int
    started: str


def process_id_of(pid: int) -> ProcessId | None:
    """Return the identity of a process that runs; None when there is none, or only a zombie."""
    started = _linux_start(pid) if _ON_LINUX else _start_by_clock(pid)
    return ProcessId(pid, started) if started else None


def is_alive(process_id: ProcessId) -> bool:
    """Return whether that very process runs."""
    now = process_id_of(process_id.pid)
    if now is None or _ON_LINUX:
        return now == process_id
    try:
        return abs(float(now.started) - float(process_id.started)) <= _CLOCK_TOLERANCE
    except ValueError:
        return False


def belongs_to(process_id: ProcessId, uid: int) -> bool:
    """Return whether the process runs as that user."""
    import psutil

    try:
        return bool(psutil.Process(process_id.pid).uids().real == uid)
    except psutil.Error:
        return False


def end(process_ids: Sequence[ProcessId], number: int, deadline: float) -> list[ProcessId]:
    """Send the signal; return those that still run after at most that many seconds."""
    for process_id in process_ids:
        if is_alive(process_id):
            with suppress(ProcessLookupError):
                os.kill(process_id.pid, number)
    return wait_for_end(process_ids, deadline)


def wait_for_end(process_ids: Sequence[ProcessId], deadline: float) -> list[ProcessId]:
    """Wait at most that many seconds for the processes to end; return those that still run."""
    wait_until(lambda: not any(is_alive(process_id) for process_id in process_ids), deadline, 0.05)
    return [process_id for process_id in process_ids if is_alive(process_id)]


def terminate(process_ids: Sequence[ProcessId], number: int, deadline: float) -> list[ProcessId]:
    """End the processes by the signal, after that many seconds by SIGKILL; return those that still run."""
    left = end(process_ids, number, deadline)
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
