"""What `status` says of services, and what the checks say while there is no server."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from provisioner.actions.status import ServiceUsage, status, take_tracking_store, usage_rows
from provisioner.actions.up import UpOptions, up
from provisioner.errors import WouldLoseData
from provisioner.model.plan import Observed, ObservedService
from provisioner.model.settings import Settings
from provisioner.model.stack import build_stack
from provisioner.model.state import State
from provisioner.output import Recorder
from provisioner.runtimes.base import Usage
from provisioner.runtimes.embedded.processes import POSTGRES_DATA
from provisioner.stack.checks import light_checks
from provisioner.stack.context import STATE_FILE
from provisioner.stack.secrets import FOLDER
from provisioner.system.http import Rest, RestError
from tests.support.ports import free_port


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


@pytest.mark.parametrize(
    ("reason", "text"),
    [("", "fast"), ("server.fast is false", "MLflow's own store: server.fast is false")],
)
def test_which_tracking_store_answers_is_said_with_its_reason(reason: str, text: str) -> None:
    versions: dict[str, str | None] = {"mlflow": "3.17.2", "reason_against_fast": reason}
    store = take_tracking_store(versions)
    assert store
    assert (asdict(store), store.text) == ({"fast": not reason, "reason": reason}, text)
    assert versions == {"mlflow": "3.17.2"}


def test_the_server_of_an_older_release_says_nothing_of_its_tracking_store() -> None:
    assert take_tracking_store({"mlflow": "3.16.1"}) is None
    assert take_tracking_store({}) is None


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An embedded stack with data, which does not run."""
    stack = build_stack(Settings(), "embedded")
    names = tuple(spec.name for spec in stack.secrets)
    state = State(project="mlflow-abc123", runtime="embedded", port=free_port(), secrets=names)
    (tmp_path / STATE_FILE).write_bytes(state.text())
    (tmp_path / POSTGRES_DATA).mkdir(parents=True)
    (tmp_path / FOLDER).mkdir()
    for name in names:
        (tmp_path / FOLDER / name).write_text("x")
    return tmp_path


def test_lost_secrets_are_said_as_up_says_them(made: Path) -> None:
    (error,) = status(made, Recorder()).errors
    assert (error.exit_code, error.what) == (6, "the stack is down")
    (made / FOLDER / "postgres_password").unlink()
    (error,) = status(made, Recorder()).errors
    with pytest.raises(WouldLoseData) as refused:
        up(UpOptions(made, dry_run=True), Recorder())
    assert (error.exit_code, error.what.rpartition(": ")[2]) == (7, "postgres_password")
    assert {field.name: getattr(error, field.name) for field in fields(error)} == {
        field.name: getattr(refused.value, field.name) for field in fields(error)
    }


def test_what_runs_is_shown_to_who_may_not_read_the_secrets(made: Path) -> None:
    (made / FOLDER / "postgres_password").unlink()
    # As for who may not: it is there, and cannot be read as a file.
    (made / FOLDER / "postgres_password").mkdir()
    (error,) = status(made, Recorder()).errors
    assert error.what == "the stack is down"


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
