"""How much memory a machine has left."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.system.host import LocalHost

if TYPE_CHECKING:
    import psutil

MEMINFO = "/proc/meminfo"
_CGROUP = Path("/sys/fs/cgroup")


def available_mb(meminfo: bytes | None) -> int | None:
    """Return the MB that new processes may take without others being ended.

    It is the kernel's own estimate; None where it has none.
    """
    for line in (meminfo or b"").decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    return None


def used_by(pid: int) -> int | None:
    """Return the bytes that the process and all below it have for themselves; None when it is gone.

    What they share is counted once.
    """
    import psutil

    try:
        first = psutil.Process(pid)
        return sum(_own(process) for process in [first, *first.children(recursive=True)])
    except psutil.Error:
        return None


def _own(process: psutil.Process) -> int:
    import psutil

    try:
        found = process.memory_full_info()
        return int(getattr(found, "pss", 0) or found.uss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def ended_for_memory() -> int:
    """Return how many processes the kernel has ended for want of memory since it started.

    It is 0 where this machine does not tell.
    """
    for line in (LocalHost().get(Path("/proc/vmstat")) or b"").decode(errors="replace").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


def available_here_mb() -> int | None:
    """Return the MB that new processes may take here, on the machine or in the container that this is.

    It is None where the system does not tell.
    """
    found = [available_mb(LocalHost().get(Path(MEMINFO)))]
    with suppress(OSError, ValueError):
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        found.append((limit - used) >> 20)
    return min((value for value in found if value is not None), default=None)
