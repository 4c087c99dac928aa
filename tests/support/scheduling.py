"""Which tests stay together with `pytest -n`, and which come first."""

from __future__ import annotations

import os
from typing import Any

import psutil
import pytest

RUNTIMES = ("docker", "embedded")
# Files whose tests share one stack, or the team's server; the others have stacks of their own.
SHARED = {
    "team's server": ("e2e/test_deploy", "e2e/test_team_page"),
    "server": (
        "server/test_client",
        "server/test_greedy",
        "server/test_image",
        "server/test_jobs",
        "server/test_page",
        "server/test_refused",
        "server/test_routes",
        "server/test_traces",
        "server/test_under_load",
        "server/test_uploads",
    ),
    "locations": ("server/test_locations",),
    "faults": (
        "faults/test_data_at_risk",
        "faults/test_killed",
        "faults/test_lost_pieces",
        "faults/test_never",
        "faults/test_odd_places",
    ),
}
# Handed out first, in this order: one that begins late would be at work alone in the end.
LONGEST = (
    "campaign/",
    "team's server",
    "server ",
    "server/test_flood.py",
    "e2e/test_link_proof.py",
    "e2e/test_tls.py",
    "server/test_reach.py",
    "server/test_strangers.py",
    "faults ",
    "e2e/test_link_team.py",
    "e2e/test_main_job.py",
    "locations ",
    "server/",
    "e2e/",
    "faults/",
)
# Images and programs that may still be being built when the tests begin.
BUILT = {"docker", "s3_server", "minio"}
# A stack at work has half a gigabyte, and one with what a test adds to it seldom more than a whole one.
MEMORY_EACH = 2 * 1024**3
MOST_PROCESSES = 4


def runtime_of(nodeid: str) -> str:
    """Return the runtime that the test has as a parameter, or ""."""
    parameters = nodeid.partition("[")[2]
    return next((runtime for runtime in RUNTIMES if runtime in parameters), "")


def group_of(nodeid: str) -> str:
    """Return the name of the group, which one process runs.

    It is a file's tests on one runtime, or those of all files that share a stack.
    """
    file = nodeid.partition("::")[0].removeprefix("tests/")
    shared = next((name for name, files in SHARED.items() if file.startswith(files)), file)
    return f"{shared} {runtime_of(nodeid)}".strip()


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in the order to take them: last those whose images and programs are being built."""
    waiting = {group_of(item.nodeid) for item in items if _waits(item)}
    return sorted(items, key=lambda item: (group_of(item.nodeid) in waiting, _place(group_of(item.nodeid))))


def _waits(item: pytest.Item) -> bool:
    parameters = item.nodeid.partition("[")[2]
    return (
        bool(BUILT & set(getattr(item, "fixturenames", ()))) or "docker" in parameters or "-s3" in parameters
    )


def _place(group: str) -> int:
    return next((place for place, start in enumerate(LONGEST) if group.startswith(start)), len(LONGEST))


def processes() -> int:
    """Return how many processes `-n auto` means.

    One more than there are cores: most of their time tests wait for services.
    """
    cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total
    return max(1, min(cores + 1, memory // MEMORY_EACH, MOST_PROCESSES))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Return pytest-xdist's scheduler that hands out groups in the order of collection, `in_order`'s."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False

    class ByGroup(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

        def remove_node(self, node: Any) -> str | None:
            """Return the test that the process died of.

            xdist would give it to the next process, and the next, until none is left.
            """
            pending = [
                (unit, nodeid)
                for unit in self.assigned_work[node].values()
                for nodeid, done in unit.items()
                if not done
            ]
            if pending:
                unit, nodeid = pending[0]
                unit[nodeid] = True
            super().remove_node(node)
            return pending[0][1] if pending else None

    return ByGroup(config, log)
