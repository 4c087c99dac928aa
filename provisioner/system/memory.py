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
    """MB that new processes may take without others being ended, from the kernel's own estimate; None where it has none."""
    for line in (meminfo or b"").decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    return None


def used_by(pid: int) -> int | None:
    """Bytes that the process and all below it have for themselves, what they share counted once; None when it is gone."""
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
    """How many processes the kernel of this machine has ended for want of memory since it started; 0 where it does not tell."""
    for line in (LocalHost().get(Path("/proc/vmstat")) or b"").decode(errors="replace").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


def available_here_mb() -> int | None:
    """The same for this machine, or for the container that this is; None where the system does not tell."""
    found = [available_mb(LocalHost().get(Path(MEMINFO)))]
    with suppress(OSError, ValueError):
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        found.append((limit - used) >> 20)
    return min((value for value in found if value is not None), default=None)
