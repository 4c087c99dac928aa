"""What a failed test leaves behind to be looked at: its report, and the stacks that it had."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.installed import Program

# Set for each process of a run: where the folders of its failed tests go.
VARIABLE = "PYTEST_FAILURES"
LONGEST_NAME = 100
# A failure is shown to colleagues and kept by CI; data can have gigabytes.
LEFT_OUT = ("secrets", "data")
# Where that many have failed, the next ones say nothing new.
MOST_WITH_STACKS = 10
# A test whose process died is reported with none of them.
PHASES = ("setup", "call", "teardown")
MASK = "********"
SHORTEST_SECRET = 8
# In JSON and Python's form of it; in a shell and in YAML.
PASSWORD = re.compile(
    r"""(?:password['"]\s*:\s*['"]|MLFLOW_TRACKING_PASSWORD['"]?\s*[:=]\s*['"]?)([^\s'",\\$]{8,})"""
)


def folder_of(nodeid: str) -> Path | None:
    """Return the folder for what the test of that id leaves; None where nothing is kept."""
    root = os.environ.get(VARIABLE)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", nodeid.removeprefix("tests/")).strip("-")
    if len(name) > LONGEST_NAME or "[" in nodeid:
        # Parameters may differ in nothing but what no file's name can have.
        name = f"{name[-LONGEST_NAME:]}-{hashlib.sha256(nodeid.encode()).hexdigest()[:6]}"
    return Path(root, name) if root else None


def keep_report(report: pytest.TestReport, tmp_path: Path | None) -> None:
    """Write down the traceback and everything that was captured, of one phase of a failed test."""
    if folder := folder_of(report.nodeid):
        folder.mkdir(parents=True, exist_ok=True)
        captured = "".join(f"\n--- {name} ---\n{content}" for name, content in report.sections)
        where = f"\ntemporary files: {tmp_path}\n" if tmp_path else ""
        text = masked(f"{report.nodeid}\n\n{report.longreprtext}\n{where}{captured}")
        name = report.when if report.when in PHASES else "process"
        (folder / f"{name}.txt").write_text(text, errors="replace")


def masked(text: str) -> str:
    """Return the text without the secrets of the stacks at hand, and what is called a password in it."""
    for program in _programs():
        for path in program.stack.glob("secrets/*"):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if len(secret := path.read_text().strip()) >= SHORTEST_SECRET:
                    text = text.replace(secret, MASK)
    for password in set(PASSWORD.findall(text)):
        text = text.replace(password, MASK)
    return text


def keep_stacks() -> None:
    """Keep every stack that this process has at hand, for the test that runs now."""
    for program in _programs():
        keep_stack(program)


def _programs() -> list[Program]:
    """Whatever holds them: a fixture, a helper, the test itself; it is asked for failures only."""
    from tests.support.installed import Program

    # Not isinstance, which asks what a dead weak reference refers to.
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Program)]


def keep_stack(program: Program) -> None:
    """Copy the stack's settings, rendered files, logs and last commands for the test that runs now."""
    nodeid = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    folder = folder_of(nodeid) if nodeid else None
    if (
        not folder
        or not program.stack.exists()
        or len(list(folder.parent.glob("*/stack-*"))) >= MOST_WITH_STACKS
    ):
        return
    target = folder / f"stack-{program.runtime}-{program.stack.parent.name[:LONGEST_NAME]}"
    if target.exists():
        return
    target.mkdir(parents=True)
    (target / "commands.txt").write_text(masked("\n".join(program.log)), errors="replace")
    for path in program.stack.iterdir():
        # Files of a stack at work come and go; whatever cannot be had must not hide the failure.
        with contextlib.suppress(OSError):
            # A link may lead to what is left out, or to itself.
            if path.name in LEFT_OUT or path.is_symlink():
                continue
            if path.is_dir():
                shutil.copytree(path, target / path.name, symlinks=True)
            else:
                shutil.copy(path, target / path.name)
    if program.runtime == "docker":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            _container_logs(program, target)


def _container_logs(program: Program, target: Path) -> None:
    """What the engine has of the stack's containers; a stack that was never applied has none."""
    for name, arguments in (
        ("containers.txt", ["ps", "-a"]),
        ("containers.log", ["logs", "--no-color", "--timestamps"]),
    ):
        argv = ["docker", "compose", *arguments]
        done = subprocess.run(
            argv, cwd=program.stack, env=program.env, capture_output=True, text=True, check=False, timeout=60
        )
        (target / name).write_text(done.stdout + done.stderr, errors="replace")
