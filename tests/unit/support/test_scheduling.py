"""Tests that share something stay in one process, and those that wait for what is being built come last."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.scheduling import SHARED, group_of, in_order, processes, runtime_of


def item(nodeid: str, *fixtures: str) -> Any:
    return SimpleNamespace(nodeid=nodeid, fixturenames=fixtures)


def test_a_file_is_a_group_for_each_runtime_and_the_teams_server_is_one() -> None:
    assert group_of("tests/server/test_page.py::test_a[docker-x]") != group_of(
        "tests/server/test_page.py::test_a[embedded-x]"
    )
    assert group_of("tests/unit/model/test_plan.py::test_a") == group_of(
        "tests/unit/model/test_plan.py::test_b[x]"
    )
    assert group_of("tests/e2e/test_deploy.py::test_a") == group_of("tests/e2e/test_team_page.py::test_b")


def test_files_that_share_a_stack_are_one_group_for_each_runtime() -> None:
    assert group_of("tests/server/test_page.py::test_a[docker]") == group_of(
        "tests/server/test_traces.py::test_b[docker-x]"
    )
    assert group_of("tests/server/test_page.py::test_a[docker]") != group_of(
        "tests/server/test_traces.py::test_b[embedded-x]"
    )
    assert group_of("tests/server/test_flood.py::test_a[embedded]") != group_of(
        "tests/server/test_page.py::test_a[embedded]"
    )


def test_every_file_that_is_said_to_share_a_stack_is_there() -> None:
    tests = Path(__file__).parents[2]
    starts = [start for files in SHARED.values() for start in files]
    assert [start for start in starts if not list(tests.glob(f"{start}*.py"))] == []
    # Whoever asks for the server's shared stack is in its group: a file that is not would bring up one more.
    asks = re.compile(r"def test_\w+\([^)]*\b(deployed|client): ")
    asking = [
        str(file.relative_to(tests))
        for file in sorted((tests / "server").glob("test_*.py"))
        if asks.search(file.read_text())
    ]
    assert len(asking) >= 8
    assert [file for file in asking if not file.startswith(SHARED["server"])] == []


def test_the_runtime_is_what_the_parameters_say() -> None:
    assert runtime_of("tests/e2e/test_main_job.py::test_a[docker-minio]") == "docker"
    assert runtime_of("tests/unit/runtimes/test_docker_failures.py::test_a") == ""


def test_what_waits_for_images_or_programs_comes_last_with_all_of_its_group_and_long_ones_come_first() -> (
    None
):
    unit, needs_s3, beside_it = (
        item("tests/unit/a.py::a"),
        item("tests/contract/b.py::a", "s3_server"),
        item("tests/contract/b.py::b"),
    )
    team, flood = (
        item("tests/e2e/test_deploy.py::a", "docker"),
        item("tests/server/test_flood.py::a[embedded]"),
    )
    assert in_order([unit, beside_it, needs_s3, team, flood]) == [flood, unit, team, beside_it, needs_s3]


def test_processes_are_bounded_by_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, gigabytes, expected in ((2, 24, 3), (16, 64, 4), (8, 4, 2), (1, 1, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(
            "psutil.virtual_memory", lambda gigabytes=gigabytes: SimpleNamespace(total=gigabytes * 1024**3)
        )
        assert processes() == expected
