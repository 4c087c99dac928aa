"""`pytest --rerun-failed`: what fails runs again, alone, at the end, and nothing broken gets green by it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checks import eventually

TWO_PROCESSES = ["-p", "xdist", "-n", "2"]
ONCE = """
import pathlib

def fails_once(name):
    mark = pathlib.Path({folder!r}, name)
    if not mark.exists():
        mark.touch()
        print("said by the first run of", name)
        raise AssertionError("the first time")
"""


def run(folder: Path, tests: str, *options: str) -> tuple[int, str]:
    """The exit code and the output of a pytest with this repo's options that runs those tests."""
    (folder / "test_some.py").write_text(ONCE.format(folder=str(folder)) + tests)
    with started(folder, *options) as process:
        output, _ = process.communicate(timeout=120)
        return process.returncode, output


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A pytest with this repo's options that runs the tests of the folder."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "--color=no",
        f"--rootdir={folder}",
        "test_some.py",
        *options,
    ]
    # Plugins that happen to be installed cost half of the time.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(argv, cwd=folder, env=env, start_new_session=True, **streams)


def named(output: str) -> list[tuple[str, str]]:
    """What the last lines say of each test that ran twice."""
    return re.findall(r"^(flaky|failed twice): test_some.py::(\w+), ", output, re.MULTILINE)


def last_line(output: str) -> str:
    return output.strip().splitlines()[-1]


@pytest.mark.parametrize("processes", [[], TWO_PROCESSES], ids=["one process", "two"])
def test_one_that_fails_once_passes_with_its_name_and_all_of_its_first_failure(
    tmp_path: Path, processes: list[str]
) -> None:
    code, output = run(
        tmp_path,
        "def test_a():\n    fails_once('a')\ndef test_b():\n    pass\n",
        "--rerun-failed",
        *processes,
    )
    assert code == 0, output
    assert re.search(r"1 passed, 1 flaky in ", last_line(output)), output
    (folder,) = re.findall(r"^flaky: test_some.py::test_a, first failure in (.+)$", output, re.MULTILINE)
    kept = (Path(folder) / "call.txt").read_text()
    assert "AssertionError: the first time" in kept
    assert "said by the first run of a" in kept
    assert "1 passed" in (Path(folder) / "second-run/output.txt").read_text()


def test_one_that_fails_twice_fails_the_run(tmp_path: Path) -> None:
    code, output = run(
        tmp_path,
        "def test_a():\n    assert not 'always'\ndef test_b():\n    fails_once('b')\n",
        "--rerun-failed",
    )
    assert code == 1, output
    assert named(output) == [("failed twice", "test_a"), ("flaky", "test_b")]
    assert "1 failed, 1 flaky in " in last_line(output)
    assert "assert not 'always'" in output


@pytest.mark.parametrize(("count", "code"), [(3, 0), (4, 1)])
def test_three_that_fail_once_pass_and_four_fail_the_run(tmp_path: Path, count: int, code: int) -> None:
    tests = "".join(f"def test_{number}():\n    fails_once('{number}')\n" for number in range(count))
    seen, output = run(tmp_path, tests, "--rerun-failed")
    assert seen == code, output
    assert len(named(output)) == (3 if code == 0 else 0)
    assert ("4 tests failed, more than 3" in output) is bool(code)
    (folder,) = re.findall(r"^what failed tests left: (.+)$", output, re.MULTILINE)
    assert len(list(Path(folder).iterdir())) == count


SET_UP = """
import pytest
@pytest.fixture
def a():
    fails_once('a')
def test_a(a):
    pass
"""
TEAR_DOWN = SET_UP.replace("    fails_once", "    yield\n    fails_once")
SKIPPED = """
import pytest
def test_a():
    fails_once('a')
    pytest.skip('no')
"""
NOT_COLLECTED = "fails_once('a')\ndef test_a():\n    pass\n"
ALIKE = """
import pytest
@pytest.mark.parametrize("text", ["[]", "{{}}", "()"])
def test_a(text):
    fails_once({folder!r} + "/a" + text)
"""
DIES = """
import os
def test_a():
    try:
        fails_once('a')
    except AssertionError:
        os._exit(9)
def test_b():
    pass
"""


@pytest.mark.parametrize(
    ("tests", "code"),
    [(SET_UP, 0), (TEAR_DOWN, 0), (SKIPPED, 1), (NOT_COLLECTED, 2)],
    ids=["set-up", "tear-down", "skipped", "not collected"],
)
def test_whatever_failed_must_pass_in_every_phase(tmp_path: Path, tests: str, code: int) -> None:
    seen, output = run(tmp_path, tests, "--rerun-failed")
    assert seen == code, output


def test_tests_whose_names_are_alike_keep_a_folder_each(tmp_path: Path) -> None:
    code, output = run(tmp_path, ALIKE.format(folder=str(tmp_path)), "--rerun-failed")
    assert code == 0, output
    folders = re.findall(r", first failure in (.+)$", output, re.MULTILINE)
    assert len(set(folders)) == 3
    for folder, text in zip(folders, ("[]", "{}", "()"), strict=True):
        assert f"test_a[{text}]" in (Path(folder) / "call.txt").read_text()


def test_a_folder_with_brackets_in_its_name_is_as_good_as_another(tmp_path: Path) -> None:
    folder = tmp_path / "odd [1] folder"
    folder.mkdir()
    code, output = run(folder, "def test_a():\n    fails_once('a')\n", "--rerun-failed")
    assert code == 0, output
    assert named(output) == [("flaky", "test_a")]


def test_one_that_did_not_run_again_is_not_said_to_have_failed_twice(tmp_path: Path) -> None:
    code, output = run(tmp_path, SKIPPED, "--rerun-failed")
    assert code == 1, output
    assert "failed, and did not run once more: test_some.py::test_a, see " in output


@pytest.mark.parametrize("processes", [[], TWO_PROCESSES], ids=["one process", "two"])
def test_what_is_not_there_and_what_selects_nothing_is_said(tmp_path: Path, processes: list[str]) -> None:
    code, output = run(tmp_path, "def test_a():\n    pass\n", *processes, str(tmp_path / "test_nope.py"))
    assert (code, "file or directory not found" in output, "test_nope.py" in output) == (4, True, True), (
        output
    )
    code, output = run(tmp_path, "def test_a():\n    pass\n", *processes, "-k", "nope")
    assert (code, "no test was selected" in output) == (5, True), output


def test_ctrl_c_leaves_a_test_that_runs_once_more_the_time_to_end_its_stacks(tmp_path: Path) -> None:
    with_a_stack = (
        "import pytest, time\n@pytest.fixture\ndef stack():\n    yield\n    time.sleep(1)\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'ended').touch()\n"
        "def test_a(stack):\n    fails_once('a')\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'again').touch()\n    time.sleep(60)\n"
    )
    (tmp_path / "test_some.py").write_text(ONCE.format(folder=str(tmp_path)) + with_a_stack)
    with started(tmp_path, "--rerun-failed") as process:
        eventually((tmp_path / "again").exists, 60, "the second run")
        (tmp_path / "ended").unlink()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 2
    assert (tmp_path / "ended").exists()


def test_the_runtimes_that_are_required_are_required_the_second_time_too(tmp_path: Path) -> None:
    tests = "import pytest\ndef test_a():\n    pytest.skip('no engine')\n"
    code, output = run(tmp_path, tests, "--rerun-failed", "--require-runtime", "docker")
    assert code == 1, output
    assert named(output) == [("failed twice", "test_a")]


def test_a_process_that_dies_is_a_failure_that_may_pass_alone(tmp_path: Path) -> None:
    code, output = run(tmp_path, DIES, "--rerun-failed", *TWO_PROCESSES)
    assert code == 0, output
    assert named(output) == [("flaky", "test_a")]


KILLS = """
import os
def test_a():
    if "PYTEST_XDIST_WORKER" in os.environ:
        os._exit(9)
"""


def test_a_test_that_ends_its_process_does_so_once_and_the_others_run(tmp_path: Path) -> None:
    code, output = run(tmp_path, KILLS + "def test_b():\n    pass\n", "--rerun-failed", *TWO_PROCESSES)
    assert code == 0, output
    assert output.count("replacing crashed worker") == 1, output
    assert "1 passed, 1 flaky in " in last_line(output)
    (folder,) = re.findall(r"^flaky: test_some.py::test_a, first failure in (.+)$", output, re.MULTILINE)
    assert "crashed while running" in (Path(folder) / "process.txt").read_text()


def test_tests_that_never_ran_fail_the_run(tmp_path: Path) -> None:
    options = ["--rerun-failed", "-p", "xdist", "-n", "1", "--max-worker-restart", "0"]
    code, output = run(tmp_path, KILLS + "def test_b():\n    pass\n", *options)
    assert code == 1, output
    assert "1 test never ran, such as test_some.py::test_b" in output


@pytest.mark.parametrize(
    ("tests", "option", "value"),
    [
        ("import warnings\ndef test_a():\n    warnings.warn('old')\n", "-W", "error"),
        ("import pytest\n@pytest.mark.xfail\ndef test_a():\n    pass\n", "-o", "xfail_strict=true"),
    ],
    ids=["warnings", "settings"],
)
def test_what_made_a_test_fail_holds_for_its_second_run(
    tmp_path: Path, tests: str, option: str, value: str
) -> None:
    assert run(tmp_path, tests)[0] == 0
    code, output = run(tmp_path, tests, "--rerun-failed", option, value)
    assert code == 1, output
    assert named(output) == [("failed twice", "test_a")]


def test_a_second_run_has_none_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--rerun-failed")
    code, output = run(tmp_path, "def test_a():\n    assert not 'always'\n")
    assert code == 1, output
    assert len(list(tmp_path.rglob("second-run"))) == 1


@pytest.mark.parametrize("processes", [[], TWO_PROCESSES], ids=["one process", "two"])
def test_a_failure_is_shown_though_nothing_of_it_can_be_kept(tmp_path: Path, processes: list[str]) -> None:
    (tmp_path / ".failures").touch()
    code, output = run(
        tmp_path, "def test_a():\n    assert not 'true'\ndef test_b():\n    pass\n", *processes
    )
    assert code == 1, output
    assert "assert not 'true'" in output
    assert "not all of it could be kept" in output
    assert "1 failed, 1 passed in " in last_line(output)


def test_a_known_failure_is_no_skip(tmp_path: Path) -> None:
    tests = "import pytest\n@pytest.mark.xfail\ndef test_a():\n    assert not 'yet'\n"
    code, output = run(tmp_path, tests, "--require-runtime", "docker")
    assert (code, "1 xfailed in " in last_line(output)) == (0, True), output


def test_the_last_lines_say_what_took_long_and_what_was_left_out(tmp_path: Path) -> None:
    tests = (
        "import time, pytest\ndef test_slow():\n    time.sleep(0.2)\n"
        "@pytest.mark.parametrize('runtime', ['docker'])\n"
        "def test_of(runtime):\n    pytest.skip('the Docker runtime: no engine')\n"
    )
    code, output = run(tmp_path, tests)
    assert code == 0, output
    lines = output.strip().splitlines()
    assert lines[-2] == "left out: 1 test: the Docker runtime: no engine"
    slowest = lines[lines.index("slowest 2 tests: seconds (set-up + call + tear-down)") + 1]
    seconds = re.fullmatch(
        r" +(\d\.\d)  test_some.py::test_slow \((\d\.\d) \+ (\d\.\d) \+ (\d\.\d)\)", slowest
    )
    assert seconds, slowest
    whole, *parts = map(float, seconds.groups())
    assert (parts[1] >= 0.2, abs(whole - sum(parts)) < 0.2) == (True, True), slowest
    assert any(re.fullmatch(r" +0\.\d  \. docker \(1 test\)", line) for line in lines)


STACK = """
from tests.support.installed import Program
def test_a():
    stack = pathlib.Path({folder!r}, "of-a/stack")
    files = {{
        "provision.yml": "{{}}",
        "logs/mlflow.log": "its last words",
        "secrets/key": "sesame-open-12",
        "data/x": "y",
    }}
    for name, content in files.items():
        (stack / name).parent.mkdir(parents=True, exist_ok=True)
        (stack / name).write_text(content)
    said = [
        "$ provision up", '{{"password": "of-another-user"}}', "it said sesame-open-12 and of-another-user"
    ]
    program = Program(pathlib.Path("/nowhere"), stack, "embedded", log=said)
    assert "sesame-open-12" == program
"""


def test_the_stacks_of_a_failed_test_are_kept_without_secrets_and_data(tmp_path: Path) -> None:
    code, output = run(tmp_path, STACK.format(folder=str(tmp_path)))
    assert code == 1, output
    (kept,) = tmp_path.glob(".failures/*/test_some.py-test_a/stack-embedded-of-a")
    assert {str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*") if path.is_file()} == {
        "commands.txt": '$ provision up\n{"password": "********"}\nit said ******** and ********',
        "provision.yml": "{}",
        "logs/mlflow.log": "its last words",
    }
    assert "sesame-open-12" not in (kept.parent / "call.txt").read_text()
