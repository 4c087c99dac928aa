"""A copy of a stack's directory, a lost state.json, lost data: each is told before anything is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.actions.down import down
from provisioner.actions.erase import EraseOptions, erase
from provisioner.actions.render import render
from provisioner.actions.status import status
from provisioner.actions.up import UpOptions, _decide, up
from provisioner.errors import WouldLoseData
from provisioner.model.state import State
from provisioner.output import Recorder
from provisioner.stack.context import STATE_FILE
from provisioner.stack.find import find_stack, read_stack
from provisioner.system.host import LocalHost
from tests.support.ports import free_port

ACTIONS: dict[str, Callable[[Path], object]] = {
    "up": lambda stack: up(UpOptions(stack=stack), Recorder()),
    "down": lambda stack: down(stack, None, pytest.fail, Recorder()),
    "erase": lambda stack: erase(EraseOptions(stack, yes=True), pytest.fail, pytest.fail, Recorder()),
    "status": lambda stack: status(stack, Recorder()),
    "render": lambda stack: render(stack, False, Recorder()),
}


def stack_in(there: Path, **values: object) -> Path:
    """The directory of a stack that was brought up there."""
    there.mkdir()
    state = State("mlflow-abc123", "embedded", free_port(), directory=str(there)).with_(**values)
    (there / STATE_FILE).write_bytes(state.text())
    return there


def copied(stack: Path) -> Path:
    return shutil.copytree(stack, stack.with_name("copy"))


@pytest.mark.parametrize("name", ACTIONS)
def test_nothing_is_done_in_a_copy_while_the_stack_is_where_it_was(tmp_path: Path, name: str) -> None:
    original = stack_in(tmp_path / "stack")
    copy = copied(original)
    with pytest.raises(WouldLoseData, match="is a copy of the stack in") as refused:
        ACTIONS[name](copy)
    assert str(original) in refused.value.what
    assert sorted(path.name for path in copy.iterdir()) == [STATE_FILE]


def test_a_stack_that_was_moved_or_is_reached_by_another_path_is_no_copy(tmp_path: Path) -> None:
    original = stack_in(tmp_path / "stack")
    (tmp_path / "link").symlink_to(original)
    assert find_stack(tmp_path / "link").is_made
    original.rename(tmp_path / "moved")
    assert find_stack(tmp_path / "moved").is_made
    stack_in(original, project="mlflow-123abc")
    assert find_stack(tmp_path / "moved").is_made, "where it was is another one"


def test_a_stack_of_before_that_was_kept_is_no_copy(tmp_path: Path) -> None:
    assert find_stack(copied(stack_in(tmp_path / "stack", directory=""))).is_made


@pytest.mark.parametrize("name", ACTIONS)
def test_data_without_a_state_is_neither_nothing_nor_a_new_stack(tmp_path: Path, name: str) -> None:
    (tmp_path / "data/postgres").mkdir(parents=True)
    with pytest.raises(WouldLoseData, match=r"state\.json is gone.*data/postgres"):
        ACTIONS[name](tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_stack_that_has_worked_is_not_made_empty_where_its_data_is_gone(tmp_path: Path) -> None:
    worked = stack_in(tmp_path / "stack", checked={"mlflow": "m1"})
    with pytest.raises(WouldLoseData, match="the data of this stack is gone"):
        _decide(read_stack(worked, "", LocalHost()), "embedded", Recorder())
    never_worked = stack_in(tmp_path / "other")
    assert _decide(read_stack(never_worked, "", LocalHost()), "embedded", Recorder()).plan


def test_an_up_remembers_where_the_stack_is(tmp_path: Path) -> None:
    stack = stack_in(tmp_path / "stack", directory="/elsewhere")
    change = _decide(read_stack(stack, "", LocalHost()), "embedded", Recorder())
    assert change.state.directory == str(stack)
