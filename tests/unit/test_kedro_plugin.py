"""`kedro provision` hands everything on to the program itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from provisioner.kedro_plugin import commands
from tests.support.commands import COMMANDS

NAMES = ("up", "link", "status", "doctor")


def test_kedro_gets_these_commands_of_its_own_library() -> None:
    assert isinstance(commands, click.Group)
    group = commands.commands["provision"]
    assert isinstance(group, click.Group)
    assert set(group.commands) == set(NAMES) <= set(COMMANDS)


@pytest.mark.parametrize("name", NAMES)
def test_options_and_help_are_those_of_the_program(name: str) -> None:
    said = CliRunner().invoke(commands, ["provision", name, "--help"])
    assert said.exit_code == 0
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in said.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--no-such"], 2), (["--stack", "STACK"], 6), (["--stack", "STACK", "--output", "xml"], 2)],
)
def test_the_exit_code_is_that_of_the_program(arguments: list[str], code: int, tmp_path: Path) -> None:
    words = [str(tmp_path / "none") if word == "STACK" else word for word in arguments]
    assert CliRunner().invoke(commands, ["provision", "status", *words]).exit_code == code


def test_kedros_other_commands_do_not_wait_for_the_program() -> None:
    code = (
        "import sys, provisioner.kedro_plugin; "
        "print([name for name in sys.modules if name.startswith(('typer', 'provisioner.cli'))])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        == "[]\n"
    )
