"""`pytest --require-runtime`: where it is given, a test that is skipped is a failure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.parametrize("runtime", ["docker", "embedded"])
def test_of_a_runtime(runtime):
    pytest.skip("nothing of it is here")

def test_of_none():
    pytest.skip("no sshd")

@pytest.mark.skipif(True, reason="no root")
def test_marked():
    pass

def test_that_passes():
    pass
"""


@pytest.mark.parametrize(
    ("required", "skipped", "failed"),
    [
        (
            [],
            {"test_of_a_runtime[docker]", "test_of_a_runtime[embedded]", "test_of_none", "test_marked"},
            set(),
        ),
        (
            ["embedded"],
            {"test_of_a_runtime[docker]"},
            {"test_of_a_runtime[embedded]", "test_of_none", "test_marked"},
        ),
        (
            ["docker", "embedded"],
            set(),
            {"test_of_a_runtime[docker]", "test_of_a_runtime[embedded]", "test_of_none", "test_marked"},
        ),
    ],
)
def test_a_skip_is_a_failure_where_the_runtime_is_required(
    tmp_path: Path, required: list[str], skipped: set[str], failed: set[str]
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    options = [part for runtime in required for part in ("--require-runtime", runtime)]
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-vrs",
        "--color=no",
        f"--rootdir={tmp_path}",
        str(tmp_path),
        *options,
    ]
    done = subprocess.run(
        argv, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == (1 if failed else 0), done.stdout + done.stderr
    ended = dict(re.findall(r"test_some.py::(\S+) (SKIPPED|FAILED|ERROR|PASSED)", done.stdout))
    assert {name for name, how in ended.items() if how == "SKIPPED"} == skipped
    assert {name for name, how in ended.items() if how in {"FAILED", "ERROR"}} == failed
    assert "no sshd" in done.stdout
    assert ended["test_that_passes"] == "PASSED"
