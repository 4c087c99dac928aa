"""How much memory is left, and what processes take."""

from __future__ import annotations

import os

from provisioner.system.memory import available_here_mb, available_mb, used_by

MEMINFO = b"MemTotal:       24684544 kB\nMemFree:        18408000 kB\nMemAvailable:   20480000 kB\n"


def test_the_kernels_estimate_counts_and_not_what_is_unused() -> None:
    assert available_mb(MEMINFO) == 20_000
    assert available_mb(b"MemTotal: 1 kB\n") is None
    assert available_mb(None) is None


def test_this_machine_has_some_and_this_process_takes_some() -> None:
    free, own = available_here_mb(), used_by(os.getpid())
    assert free is None or free > 0
    assert own is not None
    assert 1 << 20 < own < 1 << 33
    assert used_by(1 << 22) is None
