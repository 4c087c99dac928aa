"""`provision up` that is killed or interrupted halfway, or typed twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import new_stack
from tests.support.checks import (
    commands_in,
    containers,
    each_once,
    eventually,
    healthy,
    refused,
    run_logged,
    running,
)
from tests.support.installed import Program
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def program(runtime: str, installed: Path, stacks: Path) -> Iterator[Program]:
    """A stack that these tests make, and each leaves up."""
    with new_stack(installed, stacks / f"interrupted-{runtime}", runtime) as program:
        program.settings(f"server:\n  port: {free_port()}\n")
        yield program


def remembered(program: Program) -> bool:
    return (program.stack / "state.json").exists()


def is_down(program: Program) -> None:
    """Return once the stack was made and ended."""
    if not remembered(program):
        program.up("--no-link")
    assert program("down").code == 0


def store_is_being_made(program: Program) -> bool:
    if program.runtime == "docker":
        return bool(containers(program.stack))
    return (program.stack / "data/postgres.new").exists() or (program.stack / "data/postgres").exists()


def server_starts(program: Program) -> bool:
    if program.runtime == "docker":
        return "mlflow" in json.dumps(states(program))
    return any("provision_server" in command for command in commands_in(program.stack))


def states(program: Program) -> list[str]:
    form = '{{.Label "com.docker.compose.service"}} {{.State}}'
    argv = [
        "docker",
        "ps",
        "--filter",
        f"label=com.docker.compose.project={program.project}",
        "--format",
        form,
    ]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()


def up_until(program: Program, moment: Callable[[Program], bool], number: int) -> subprocess.Popen[str]:
    """An `up` that got the signal as soon as that moment was seen."""
    process = program.start("up", "--runtime", program.runtime, "--no-link")
    try:
        eventually(lambda: moment(program) or process.poll() is not None, 180, moment.__name__, pause=0.02)
        assert process.poll() is None, program.answer(process)
        os.kill(process.pid, number)
    except BaseException:
        process.kill()
        raise
    return process


def whole(program: Program) -> None:
    """Each service is there once, all work, and a second `up` has nothing to do."""
    healthy(program)
    if program.runtime == "docker":
        expected = ["bootstrap", "minio", "mlflow", "postgres", "proxy", "volumes"]
        assert sorted(program.services()) == expected
        assert len(containers(program.stack)) == len(expected)
    else:
        each_once(program.stack)
    assert [step["verb"] for step in program.up("--no-link").data["steps"]] == ["unchanged"]
    run_logged(program("status").data["tracking_uri"]).all_there()


def test_an_up_killed_at_any_moment_is_finished_by_the_next(program: Program) -> None:
    if remembered(program):
        settings = (program.stack / "provision.yml").read_bytes()
        program.remove()
        program.settings()
        (program.stack / "provision.yml").write_bytes(settings)
    for moment in (remembered, store_is_being_made, server_starts):
        process = up_until(program, moment, signal.SIGKILL)
        process.communicate(timeout=10)
        assert process.returncode == -signal.SIGKILL
    answer = program.up("--no-link")
    assert [check["name"] for check in answer.data["checks"] if check["ok"]] == [
        "tracking server",
        "backend store",
        "artifact store",
    ]
    whole(program)


def test_ctrl_c_ends_with_130_and_the_next_up_finishes(program: Program) -> None:
    is_down(program)
    process = up_until(program, server_starts, signal.SIGCONT)
    # As a terminal does it: everything that the command started gets the signal too.
    os.killpg(process.pid, signal.SIGINT)
    error = refused(program.answer(process, timeout=60), 130, "interrupted", "provision up")
    assert error["left_as"] == "what was done so far stays"
    program.up("--no-link")
    whole(program)


def test_a_signal_to_the_command_alone_ends_it_too(program: Program) -> None:
    is_down(program)
    process = up_until(program, server_starts, signal.SIGINT)
    refused(program.answer(process, timeout=60), 130, "interrupted")
    program.up("--no-link")
    whole(program)


def test_of_two_ups_at_once_one_works_and_the_other_names_it(program: Program) -> None:
    is_down(program)
    first = up_until(program, lock_is_held, signal.SIGCONT)
    second = program("up", "--runtime", program.runtime, "--no-link")
    error = refused(second, 8, "another command works on this stack", "provision up", f"process {first.pid}")
    assert error["left_as"] == "nothing was changed"
    refused(program("down"), 8, f"process {first.pid}")
    assert program.answer(first).code == 0
    whole(program)
    assert running(program)["proxy"].is_running()


def lock_is_held(program: Program) -> bool:
    with contextlib.suppress(ValueError, KeyError):
        return bool(json.loads((program.stack / ".lock").read_text())["command"] == "up")
    return False
