"""Rows about the program itself, on a stack that has everything of its own."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.contenders import OURS, REFERENCE, Contenders
from bench.ours import Ours
from bench.rows import Goal, Row
from tests.support.kedro_env import kedro_environment, kedro_variables, new_project

TIMES = 10
NO_OP = Row("no-op `provision up`", "s", Goal("at most", 1, "ours"))
STATUS = Row("`provision status`", "s", Goal("at most", 1, "ours"))
HELP = Row("`provision --help`, beside `import typer`", "s", Goal("at most", 2))
LINK = Row(
    "`provision link` with its proof, beside `import kedro_mlflow` of the project's interpreter",
    "s",
    Goal("at most", 4, "ours"),
)


def measure_commands(contenders: Contenders) -> None:
    """Measure the commands that people type often, in turns, on a stack of their own.

    The project is made by `kedro new`.
    """
    contenders.only()
    stack = Ours("commands", contenders.stores, contenders.installed, contenders.runtime, own_stores=True)
    try:
        stack.prepare()
        stack.start()
        _measure_commands(contenders, stack)
        _measure_link(contenders, stack)
    finally:
        stack.remove()


def _measure_commands(contenders: Contenders, stack: Ours) -> None:
    bin_directory, env = contenders.installed / "bin", stack.program.env
    program, of_stack = str(bin_directory / "provision"), ("--stack", str(stack.program.stack))
    actions = (
        (NO_OP, OURS, _running(env, program, "up", *of_stack, "--no-link")),
        (STATUS, OURS, _running(env, program, "status", *of_stack)),
        (HELP, OURS, _running(env, program, "--help")),
        (HELP, REFERENCE, _running(env, str(bin_directory / "python"), "-c", "import typer")),
    )
    for _ in range(TIMES):
        for row, name, action in actions:
            contenders.samples.add(row, name, _seconds(action))


def _measure_link(contenders: Contenders, stack: Ours) -> None:
    """Link and unlink in turns, so that each link asks the project's interpreter anew."""
    python = str(kedro_environment() / "bin/python")
    with tempfile.TemporaryDirectory() as folder:
        project, env = str(new_project(Path(folder))), {**kedro_variables(), **stack.program.env}
        program = str(contenders.installed / "bin/provision")
        link = _running(
            env, program, "link", project, "--stack", str(stack.program.stack), "--python", python
        )
        unlink, reference = (
            _running(env, program, "unlink", project),
            _running(env, python, "-c", "import kedro_mlflow"),
        )
        for _ in range(TIMES):
            contenders.samples.add(LINK, OURS, _seconds(link))
            contenders.samples.add(LINK, REFERENCE, _seconds(reference))
            unlink()


def _running(env: Mapping[str, str], *argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, env=env, check=True, capture_output=True, cwd="/")


def _seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started
