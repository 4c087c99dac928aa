"""What Docker and the kernel say of memory, read."""

from __future__ import annotations

import pytest

from provisioner.runtimes.base import Usage, for_memory
from provisioner.runtimes.docker.usage import parse_counters, parse_inspected, parse_stats


def test_memory_is_in_bytes_whatever_unit_docker_chose() -> None:
    rows = "a\t335MiB / 2GiB\nb\t1.5GiB / 2GiB\nc\t0B / 0B\nd\t-- / --\ne\t12.5kB / 1GB\n"
    assert parse_stats(rows) == {"a": 335 << 20, "b": 3 << 29, "c": 0, "e": 12_500}


def test_a_limit_of_nothing_is_none() -> None:
    assert parse_inspected("a 2 2147483648 true\nb 0 0 false\n") == {
        "a": Usage(None, 2 << 30, 2, 1),
        "b": Usage(None, None, 0, 0),
    }


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0", 2),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1", 1),
        ("cat: not there", 0),
        ("", 0),
    ],
)
def test_the_kernels_count_is_of_either_version_of_control_groups(text: str, count: int) -> None:
    assert parse_counters(text) == count


def test_a_service_that_the_kernel_ended_is_named_with_its_limit_and_the_setting() -> None:
    said = for_memory("mlflow", Usage(limit=48 << 20, killed=1))
    assert said is not None
    assert "the kernel has ended mlflow for want of memory: it may have 48 MB" in said[0]
    assert "resources.mlflow.memory" in said[1]
    # Without a limit the machine is what has too little, and SIGKILL may have come from somebody else.
    assert "SIGKILL" in (for_memory("mlflow", Usage(killed=1)) or ("",))[0]
    assert for_memory("mlflow", Usage(restarts=3)) is None
