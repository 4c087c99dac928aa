"""Rows about the program itself, on a stack that has everything of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from bench.field import OURS, REFERENCE, Field
from bench.memory import pss_mb
from bench.ours import Ours
from bench.rows import Goal, Row

TIMES = 10
FIRST_UP = Row("first `provision up`, environment there, own stores: first good answer", "s")
STACK_FRESH = Row("whole stack with its own stores, right after start (PSS)", "MB")
STACK = Row("whole stack with its own stores, after a minute (PSS)", "MB", Goal("at most", 500, "ours"))
STACK_DOCKER = Row("whole stack with its own stores, after a minute (PSS)", "MB", Goal("at most", 700, "ours"))
NO_OP = Row("no-op `provision up`", "s", Goal("at most", 1, "ours"))
HELP = Row("`provision --help`, beside `import typer`", "s")


def measure_stack(field: Field) -> None:
    """Measure one stack with its own stores, alone: its first `up`, its memory, and the commands on it."""
    field.only()
    stack = Ours("stack", field.stores, field.installed, field.runtime, own_stores=True)
    try:
        stack.prepare()
        field.add(FIRST_UP, OURS, stack.start())
        started = time.monotonic()
        field.add(STACK_FRESH, OURS, pss_mb(stack.processes()))
        _measure_commands(field, stack)
        # A minute after the start, as for the servers.
        time.sleep(max(0.0, started + 60 - time.monotonic()))
        field.add(STACK if field.runtime == "embedded" else STACK_DOCKER, OURS, pss_mb(stack.processes()))
    finally:
        stack.remove()


def _measure_commands(field: Field, stack: Ours) -> None:
    bin_directory, env = field.installed / "bin", stack.program.env

    def run(*argv: str) -> Callable[[], object]:
        return lambda: subprocess.run(argv, env=env, check=True, capture_output=True, cwd="/")

    up = run(str(bin_directory / "provision"), "up", "--stack", str(stack.program.stack), "--no-link")
    show_help = run(str(bin_directory / "provision"), "--help")
    import_typer = run(str(bin_directory / "python"), "-c", "import typer")
    for _ in range(TIMES):
        for row, name, action in ((NO_OP, OURS, up), (HELP, OURS, show_help), (HELP, REFERENCE, import_typer)):
            started = time.monotonic()
            action()
            field.samples.add(row, name, time.monotonic() - started)
