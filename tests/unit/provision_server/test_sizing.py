"""How many workers and connections fit: what the kernel says of the container, and the database's limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision_server.web import sizing as module
from provision_server.web.sizing import (
    BEST_POOL,
    CONNECTIONS_KEPT_FREE,
    LEAST_POOL,
    MB,
    MOST_WORKERS,
    POOLS,
    THREADS,
    cores_here,
    memory_here_mb,
    read_line,
    sizing,
)

V1_NO_LIMIT = "9223372036854771712"


def below_cgroup(files: dict[str, str]) -> module.Reader:
    """A reader of these files below /sys/fs/cgroup, and of no other."""
    return {f"/sys/fs/cgroup/{name}": text for name, text in files.items()}.get


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of eight cores, of which this process may use all."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "200000"}, 8),
    ],
)
def test_cores_follow_affinity_and_quota_of_both_kinds_of_cgroup(
    cores: None, files: dict[str, str], expected: float
) -> None:
    assert cores_here(below_cgroup(files)) == expected


def test_cores_follow_an_affinity_that_is_narrower_than_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cores_here(below_cgroup({"cpu.max": "400000 100000"})) == 1


def test_cores_are_the_machines_where_there_is_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores_here(below_cgroup({})) == 6


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": str(512 * MB)}, 512),
        ({"memory/memory.limit_in_bytes": str(256 * MB)}, 256),
        ({"memory.max": "max"}, None),
        ({"memory/memory.limit_in_bytes": V1_NO_LIMIT}, None),
        ({}, None),
    ],
)
def test_memory_follows_the_limit_of_both_kinds_of_cgroup(
    files: dict[str, str], expected: float | None
) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB
    assert memory_here_mb(below_cgroup(files)) == (machine if expected is None else expected)


def test_this_machine_has_sizes() -> None:
    assert cores_here() >= 1
    assert memory_here_mb() > 0


def test_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("5\n")
    assert read_line(str(tmp_path / "there")) == "5"
    assert read_line(str(tmp_path / "none")) is None


cores_of_machines = st.floats(min_value=1, max_value=512)
memories = st.floats(min_value=64, max_value=4_000_000)
limits = st.integers(min_value=1, max_value=10_000)


@given(
    cores_of_machines,
    memories,
    st.integers(min_value=CONNECTIONS_KEPT_FREE + 2 * POOLS * LEAST_POOL, max_value=10_000),
)
def test_automatic_sizes_never_take_more_connections_than_the_database_has(
    cores: float, memory: float, limit: int
) -> None:
    size = sizing(None, cores, memory, limit)
    assert (size.workers + 1) * POOLS * size.pool + CONNECTIONS_KEPT_FREE <= limit


@given(st.integers(min_value=1, max_value=64), cores_of_machines, memories, limits)
def test_wanted_workers_win_and_take_as_few_connections_as_it_needs_to_fit(
    wanted: int, cores: float, memory: float, limit: int
) -> None:
    size = sizing(wanted, cores, memory, limit)
    assert size.workers == wanted
    fits = (wanted + 1) * POOLS * 2 + CONNECTIONS_KEPT_FREE <= limit
    if fits:
        assert (wanted + 1) * POOLS * size.pool + CONNECTIONS_KEPT_FREE <= limit
    else:
        assert size.pool == 2


@given(st.integers(min_value=0, max_value=64), cores_of_machines, memories, limits)
def test_a_thread_that_holds_a_connection_always_gets_a_second(
    wanted: int, cores: float, memory: float, limit: int
) -> None:
    size = sizing(wanted or None, cores, memory, limit)
    assert 1 <= size.threads <= THREADS
    assert size.threads < size.pool <= BEST_POOL


@given(
    cores_of_machines,
    memories,
    st.integers(min_value=CONNECTIONS_KEPT_FREE + 2 * POOLS * LEAST_POOL, max_value=10_000),
)
def test_automatic_sizes_stay_within_bounds(cores: float, memory: float, limit: int) -> None:
    size = sizing(None, cores, memory, limit)
    assert 1 <= size.workers <= min(MOST_WORKERS, max(1, round(cores)))
    assert size.pool >= LEAST_POOL
    assert size.threads == THREADS


def test_workers_follow_cores_then_memory() -> None:
    assert sizing(None, 2, 4096, 100).workers == 2
    assert sizing(None, 8, 4096, 400).workers == 8
    assert sizing(None, 8, 800, 400).workers == 3
    assert sizing(None, 8, 100, 400).workers == 1
