"""How many workers, threads and connections fit this container or machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20
# Measured: what the processes share, and what each worker has of its own under load.
SHARED_MB = 300
WORKER_MB = 150
MOST_WORKERS = 16
# More threads only contend for the interpreter: 8 cost a tenth more CPU a request.
THREADS = 4
# Tracking, registry, login, and what reads of logins: each has a pool in every process.
POOLS = 4
# For bootstrap, probes, and a person with psql.
CONNECTIONS_KEPT_FREE = 10
# MLflow's log-batch holds one connection while it opens a second, and more when two clients write the same
# tag. With one more than threads somebody always gets a second; with fewer all would wait for each other,
# until SQLAlchemy gives up after 30 seconds.
LEAST_POOL, BEST_POOL = THREADS + 1, 3 * THREADS

Reader = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Sizing:
    """Flask workers, threads in each, and connections that one pool of one process may open."""

    workers: int
    threads: int
    pool: int


def sizing(wanted: int | None, cores: float, memory_mb: float, max_connections: int) -> Sizing:
    """Return the sizes for that many workers, or as many as cores and memory carry.

    Plan no more connections than the database has, but two for each pool at least.
    """
    by_memory = int((memory_mb - SHARED_MB) // WORKER_MB)
    by_connections = (max_connections - CONNECTIONS_KEPT_FREE) // (POOLS * LEAST_POOL) - 1
    workers = wanted or max(1, min(round(cores), by_memory, by_connections, MOST_WORKERS))
    pool = max(2, min(BEST_POOL, (max_connections - CONNECTIONS_KEPT_FREE) // (POOLS * (workers + 1))))
    return Sizing(workers, min(THREADS, pool - 1), pool)


def read_line(path: str) -> str | None:
    """Return the file's text; None when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def cores_here(read: Reader = read_line) -> float:
    """Return how many processor cores this process may use: its affinity, and the quota of its container."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = None, None
    if text := read("/sys/fs/cgroup/cpu.max"):
        quota, period = text.split()
    elif (first := read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")) and (
        second := read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    ):
        quota, period = first, second
    if quota is None or period is None or quota in {"max", "-1"}:
        return affinity
    return max(1.0, min(affinity, int(quota) / int(period)))


def memory_here_mb(read: Reader = read_line) -> float:
    """Return the memory in MiB that this process may use: the machine's, or the limit of its container."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = read("/sys/fs/cgroup/memory.max") or read("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    return min(machine, int(limit) if limit and limit != "max" else machine) / MB
