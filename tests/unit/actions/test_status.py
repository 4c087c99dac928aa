"""What `status` says of services, and what the checks say while there is no server."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from provisioner.actions.status import ServiceUsage, usage_rows
from provisioner.model.plan import Observed, ObservedService
from provisioner.model.settings import Settings
from provisioner.model.stack import build_stack
from provisioner.runtimes.base import Usage
from provisioner.stack.checks import light_checks
from provisioner.system.http import Rest, RestError


def test_a_row_has_memory_limit_and_restarts() -> None:
    stack = build_stack(Settings(), "docker")
    observed = Observed({"mlflow": ObservedService("mlflow", "running", "f", "Up 3 minutes")})
    rows = {row.name: row for row in usage_rows(stack, observed, {"mlflow": Usage(335 << 20, 2 << 30, 2, 1)})}
    assert asdict(rows["mlflow"]) == {
        "name": "mlflow",
        "state": "running",
        "detail": "Up 3 minutes",
        "memory": 335 << 20,
        "limit": 2 << 30,
        "restarts": 2,
        "killed": 1,
    }
    assert rows["mlflow"].text == "Up 3 minutes, 335 of 2048 MB of memory, restarted 2 times"
    assert rows["proxy"] == ServiceUsage("proxy", "missing", "")
    assert ServiceUsage("proxy", "running", "", 5 << 20, None, 1).text == "5 MB of memory, restarted once"


class Answering(Rest):
    """A server that gives one answer to everybody, or two: the second to who has no login."""

    def __init__(self, *statuses: int) -> None:
        super().__init__("http://localhost")
        self._statuses = statuses

    def anonymous(self) -> Rest:
        return Answering(self._statuses[-1])

    def call(self, *_: object) -> dict[str, Any]:
        if self._statuses[0] != 200:
            raise RestError(self._statuses[0], "said")
        return {}


@pytest.mark.parametrize(
    ("statuses", "seen"),
    [
        ((200, 401), {"tracking server": True, "access": True}),
        ((200, 200), {"tracking server": True, "access": False}),
        # Nobody is there: that is no failed access.
        ((503, 503), {"tracking server": False}),
        ((0, 0), {"tracking server": False}),
        ((500, 500), {"tracking server": False, "access": False}),
    ],
)
def test_a_stranger_is_judged_where_a_server_answers(
    statuses: tuple[int, ...], seen: dict[str, bool]
) -> None:
    assert {check.name: check.ok for check in light_checks(Answering(*statuses), True)} == seen
