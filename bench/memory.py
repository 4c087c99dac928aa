"""Memory of processes as PSS: what two share counts half for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def pss_mb(processes: Iterable[psutil.Process]) -> float:
    """Return the sum of the PSS of all processes that still run, in MB."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6
