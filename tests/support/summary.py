"""The last lines of a run, before pytest's: what was left out and why, the slowest tests, where time went."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.support.evidence import PHASES
from tests.support.evidence import VARIABLE as FAILURES
from tests.support.scheduling import runtime_of

SLOWEST = 10


class Summary:
    """Registered in the process that reports."""

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        reports = [
            report
            for kind in terminalreporter.stats.values()
            for report in kind
            if isinstance(report, pytest.TestReport)
        ]
        skipped = [
            report
            for report in terminalreporter.stats.get("skipped", [])
            if isinstance(report, pytest.TestReport)
        ]
        lines = [*slowest(reports), *by_folder(reports), *left_out(skipped)]
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            lines.append("no test was selected")
        if (folder := Path(os.environ[FAILURES])).exists():
            lines.append(f"what failed tests left: {folder}")
        for line in lines:
            terminalreporter.write_line(line)


def slowest(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Yield the tests that took longest, in seconds, with what set-up and tear-down had of it."""
    phases: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for report in reports:
        phases[report.nodeid][report.when or ""] += report.duration
    ranked = sorted(phases.items(), key=lambda item: -sum(item[1].values()))[:SLOWEST]
    if ranked:
        yield f"slowest {counted(len(ranked), 'test')}: seconds (set-up + call + tear-down)"
    for nodeid, seconds in ranked:
        parts = " + ".join(f"{seconds[phase]:.1f}" for phase in PHASES)
        yield f"{sum(seconds.values()):8.1f}  {nodeid} ({parts})"


def by_folder(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Yield each folder's tests and seconds; with `-n`, seconds of all processes added up."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    tests: dict[tuple[str, str], set[str]] = defaultdict(set)
    for report in reports:
        key = (str(PurePosixPath(report.nodeid.partition("::")[0]).parent), runtime_of(report.nodeid) or "-")
        seconds[key] += report.duration
        tests[key].add(report.nodeid)
    if seconds:
        yield "seconds by folder and runtime"
    for (folder, runtime), total in sorted(seconds.items()):
        yield f"{total:8.1f}  {folder} {runtime} ({counted(len(tests[folder, runtime]), 'test')})"
    if seconds:
        yield f"{sum(seconds.values()):8.1f}  in all"


def left_out(skipped: Iterable[pytest.TestReport]) -> Iterator[str]:
    """Yield each reason for which tests were left out, with their number."""
    reasons = Counter(_reason(report) for report in skipped)
    for reason, count in reasons.most_common():
        yield f"left out: {counted(count, 'test')}: {reason}"


def counted(count: int, what: str) -> str:
    """Return `1 test` or `2 tests`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")
