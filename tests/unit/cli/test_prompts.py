"""A password comes from standard input, a prompt, or nowhere: never from the command line."""

from __future__ import annotations

import io
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from provisioner.cli.prompts import known_password, new_password
from provisioner.errors import PreflightError
from tests.support.commands import COMMANDS


def asked(stdin: bool, generate: bool, given: str) -> Any:
    one = typer.Typer()
    one.command()(lambda: print(repr(new_password(stdin, generate)("ana"))))
    return CliRunner().invoke(one, [], input=given)


@pytest.mark.parametrize(
    ("given", "password"),
    [("a b c\n", "a b c"), ("abc", "abc"), ("abc\r\nmore\n", "abc"), (" a \n", " a ")],
)
def test_standard_input_gives_its_first_line_as_it_is(given: str, password: str) -> None:
    assert asked(True, False, given).stdout == f"{password!r}\n"


@pytest.mark.parametrize("given", ["", "\n", "\r\n", "\nabc\n"])
@pytest.mark.parametrize("asks", [new_password(True, False), known_password(True)], ids=["new", "known"])
def test_standard_input_without_a_password_is_refused(
    asks: Any, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    with pytest.raises(PreflightError, match="the password of ana is empty") as caught:
        asks("ana")
    assert "--password-stdin" in caught.value.where
    assert caught.value.hint.startswith("give it a line with the password")


def test_a_password_to_generate_is_asked_for_by_nobody() -> None:
    assert asked(False, True, "").stdout == "None\n"


def test_without_a_terminal_nobody_is_asked() -> None:
    answer = asked(False, False, "typed\n")
    assert isinstance(answer.exception, PreflightError)
    assert "--password-stdin" in answer.exception.hint


def test_two_sources_are_a_usage_error() -> None:
    assert asked(True, True, "").exit_code == 2


def test_no_command_takes_a_password_as_a_value() -> None:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            assert "password" not in parameter.name or parameter.is_flag, name
