"""A directory whose stack was never brought up: nothing is there, or plain Compose may run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.actions.down import down
from provisioner.actions.erase import EraseOptions, erase
from provisioner.actions.render import render
from provisioner.actions.status import status
from provisioner.errors import Unhealthy
from provisioner.output import Recorder, Result


def both(stack: Path) -> list[Result]:
    """What `down` and `erase` give, where asking would be wrong."""
    asked = pytest.fail
    return [
        down(stack, None, asked, Recorder()),
        erase(EraseOptions(stack), asked, asked, Recorder()),
    ]


def test_where_nothing_is_there_is_nothing_to_end(tmp_path: Path) -> None:
    assert [result.exit_code for result in both(tmp_path)] == [0, 0]


def test_what_compose_may_run_is_neither_ended_nor_erased_nor_said_to_be_nothing(tmp_path: Path) -> None:
    render(tmp_path, False, Recorder())
    secrets = sorted((tmp_path / "secrets").iterdir())
    for result in both(tmp_path):
        assert result.exit_code == Unhealthy.exit_code
        assert "`provision up` takes over" in result.errors[0].hint
    with pytest.raises(Unhealthy, match="rendered, and never brought up"):
        status(tmp_path, Recorder())
    assert sorted((tmp_path / "secrets").iterdir()) == secrets != []
