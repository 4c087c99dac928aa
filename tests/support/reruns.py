"""A failed test runs once more by itself when all others are done.

A fault fails it again, a moment of the machine's does not. pytest-rerunfailures would run it again at once,
in the same process and with the same stacks. More than `LIMIT` failed tests fail the run as they are, and so
does one that fails twice. No test is exempt.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.evidence import PHASES, VARIABLE, folder_of, keep_report, masked
from tests.support.summary import counted

LIMIT = 3
SUMMARY_KEY = "flaky"
TEARDOWN_SECONDS = 120


def new_folder(root: Path) -> Path:
    """Return a folder of this run's own for what failed tests leave; it is made by the first that does."""
    return root / ".failures" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


class Reruns:
    """Registered in the process that reports: with `pytest -n`, the one that runs no test itself."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._failed: dict[str, list[pytest.TestReport]] = {}
        self._uncollected = 0
        self._collected: set[str] = set()
        self._reported: set[str] = set()
        self._said: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._uncollected += report.failed

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._collected.update(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._collected.update(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reported.add(report.nodeid)
        if report.failed:
            self._failed.setdefault(report.nodeid, []).append(report)
        if report.failed and report.when not in PHASES:
            # Its process died, and could keep nothing.
            keep_report(report, None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Run the failed ones again after the last test; the run has failed for those that fail again."""
        done = yield
        if lost := self._collected - self._reported:
            self._said.append(f"{counted(len(lost), 'test')} never ran, such as {min(lost)}")
            session.testsfailed += len(lost)
            return done
        if not self._failed or self._uncollected:
            return done
        if len(self._failed) > LIMIT:
            self._said.append(f"{len(self._failed)} tests failed, more than {LIMIT}: none was run once more")
            return done
        again = [nodeid for nodeid in self._failed if not self._passes(nodeid)]
        if not again:
            session.testsfailed = 0
        return done

    def _passes(self, nodeid: str) -> bool:
        folder = folder_of(nodeid)
        assert folder is not None, f"{VARIABLE} is not set"
        folder.mkdir(parents=True, exist_ok=True)
        self._terminal.write_line(f"once more: {nodeid}")
        code, counts = _run_alone(self._config, nodeid, folder / "second-run")
        # Nothing but a test that ran and passed: pytest also ends well when it skips one or finds none.
        passed = code == 0 and counts == {"tests": 1, "failures": 0, "errors": 0, "skipped": 0}
        if passed:
            self._said.append(f"flaky: {nodeid}, first failure in {folder}")
            self._forgive(nodeid)
        else:
            failed = counts.get("failures", 0) + counts.get("errors", 0)
            what = "failed twice" if failed else "failed, and did not run once more"
            self._said.append(f"{what}: {nodeid}, see {folder}")
        return passed

    @property
    def _terminal(self) -> pytest.TerminalReporter:
        terminal: pytest.TerminalReporter = self._config.pluginmanager.get_plugin("terminalreporter")  # type: ignore[assignment]
        return terminal

    def _forgive(self, nodeid: str) -> None:
        """Show the reports of its first run as flaky, not as failures."""
        stats = self._terminal.stats
        for key in ("failed", "error"):
            stats[key] = [report for report in stats.get(key, []) if report.nodeid != nodeid]
        stats.setdefault(SUMMARY_KEY, []).append(self._failed[nodeid][0])

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self._said:
            terminalreporter.write_line(
                line, yellow=line.startswith(SUMMARY_KEY), red=not line.startswith(SUMMARY_KEY)
            )


def _run_alone(config: pytest.Config, nodeid: str, folder: Path) -> tuple[int, dict[str, int]]:
    """Return the exit code and the counts of a pytest that runs this one test, with stacks of its own."""
    folder.mkdir()
    results, output = folder / "results.xml", folder / "output.txt"
    # Its temporary files are not among pytest's last three folders of them,
    # of which the first failure's is one.
    temporary = tempfile.mkdtemp(prefix="pytest-second-run-")
    # The folder may have brackets in its name, which pytest takes for parameters.
    argv = [
        sys.executable,
        "-m",
        "pytest",
        nodeid,
        "-vv",
        "--rootdir",
        str(config.rootpath),
        *_options(config),
    ]
    argv += [
        "--junitxml",
        str(results),
        "--basetemp",
        temporary,
        "--failures",
        str(folder),
        "-p",
        "no:cacheprovider",
    ]
    # The last one counts: PYTEST_ADDOPTS may ask for second runs.
    argv.append("--no-rerun-failed")
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_XDIST", "PYTEST_CURRENT"))
    }
    env["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(config.invocation_params.dir), env.get("PYTHONPATH")])
    )
    code = _run(argv, config.rootpath, env, output)
    output.write_text(masked(output.read_text(errors="replace")))
    if code == 0:
        shutil.rmtree(temporary, ignore_errors=True)
    if not results.exists():
        return code, {}
    suite = ElementTree.parse(results).find("testsuite")  # noqa: S314  pytest wrote it just now
    # All of it is in the output too, without secrets.
    results.unlink()
    assert suite is not None
    return code, {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}


def _run(argv: list[str], cwd: Path, env: dict[str, str], output: Path) -> int:
    """Return the exit code; Ctrl-C reaches it once, and it has the time to end its stacks."""
    with open(output, "w", encoding="utf-8") as file:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
        # Not in the terminal's group: a second Ctrl-C would end it in the middle of its tear-down.
        process = subprocess.Popen(argv, cwd=cwd, env=env, start_new_session=True, **streams)
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TEARDOWN_SECONDS)
            process.kill()
            raise


def _options(config: pytest.Config) -> list[str]:
    """Return those of this run's options that decide what a test does."""
    given = [("--require-runtime", runtime) for runtime in config.getoption("--require-runtime")]
    given += [("-p", name) for name in config.option.plugins if name != "xdist"]
    given += [("-W", warning) for warning in config.option.pythonwarnings or ()]
    given += [("-o", setting) for setting in config.option.override_ini or ()]
    if seconds := config.getoption("--campaign"):
        given += [("--campaign", str(seconds)), ("--seed", config.getoption("--seed"))]
    return [part for option in given for part in option]
