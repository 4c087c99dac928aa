"""What follows from a stack is found once a command, whoever asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from provisioner.actions.doctor import diagnose
from provisioner.actions.down import down
from provisioner.actions.env import ShellOptions, shell_lines
from provisioner.actions.erase import EraseOptions, erase
from provisioner.actions.logs import logs
from provisioner.actions.open import open_page
from provisioner.actions.render import render
from provisioner.actions.status import status
from provisioner.actions.up import _decide
from provisioner.assets import mlflow_version
from provisioner.errors import ProvisionError, Unhealthy
from provisioner.model.state import State
from provisioner.output import Recorder
from provisioner.stack import context as context_module
from provisioner.stack.context import STATE_FILE, StackContext
from provisioner.stack.find import read_stack
from provisioner.system.host import LocalHost
from tests.support.ports import free_port

Action = Callable[[Path, Recorder], object]


def made_stack(directory: Path, port: int = 5001) -> Path:
    """The directory of a stack that was brought up, and runs no more."""
    (directory / STATE_FILE).write_bytes(State(project="mlflow-abc123", runtime="embedded", port=port).text())
    return directory


@pytest.fixture
def made_here(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a stack was read, and its model and runtime made."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        original = getattr(context_module, name)

        def counting(*arguments: Any) -> Any:
            counts[name] += 1
            return original(*arguments)

        monkeypatch.setattr(context_module, name, counting)

    counted("build_stack")
    counted("make_runtime")
    return counts


ACTIONS: dict[str, Action] = {
    "status": status,
    "down": lambda stack, said: down(stack, None, str, said),
    "erase": lambda stack, said: erase(EraseOptions(stack, yes=True), lambda _: True, str, said),
    "logs": lambda stack, said: logs(stack, "proxy", 5, False, said),
    "doctor": lambda stack, said: diagnose(None, None, stack, said),
    "open": open_page,
    "env": lambda stack, said: shell_lines(stack, ShellOptions(), said),
    "render": lambda stack, said: render(stack, False, said),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_a_command_makes_the_model_and_the_runtime_once(
    tmp_path: Path, made_here: Counter[str], name: str
) -> None:
    stack = made_stack(tmp_path)
    # Nothing runs, which most of them say.
    with suppress(ProvisionError):
        ACTIONS[name](stack, Recorder())
    assert set(made_here.values()) <= {1}, made_here
    if name not in {"env", "open"}:
        assert made_here["build_stack"] == 1


def test_what_an_up_decided_with_is_what_it_makes_the_stack_with(
    tmp_path: Path, made_here: Counter[str]
) -> None:
    made = made_stack(tmp_path, free_port())
    change = _decide(read_stack(made, "", LocalHost()), "embedded", Recorder())
    assert change.context.runtime.kind == "embedded"
    assert (change.context.state.mlflow, change.state.mlflow) == ("", mlflow_version()), (
        "it is remembered once it is made"
    )
    assert made_here == {"build_stack": 1, "make_runtime": 1}


def test_a_context_keeps_what_it_found_and_one_with_another_state_finds_anew(tmp_path: Path) -> None:
    context = read_stack(made_stack(tmp_path), "", LocalHost())
    assert context.runtime is context.runtime
    assert context.model is context.model
    assert (context.port, context.tracking_uri) == (5001, "http://127.0.0.1:5001")
    moved = context.with_state(port=5002)
    assert (moved.port, moved.tracking_uri) == (5002, "http://127.0.0.1:5002")
    assert moved.runtime is not context.runtime
    assert read_stack(tmp_path, "", LocalHost()).port == 5001, "it is not saved"


def test_a_stack_that_was_never_made_has_no_model(tmp_path: Path) -> None:
    context: StackContext = read_stack(tmp_path, "", LocalHost())
    assert not context.is_made
    with pytest.raises(Unhealthy, match="never brought up"):
        _ = context.runtime
