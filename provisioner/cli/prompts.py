"""A password from whoever types the command: never an argument, since those are in the list of processes."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from provisioner.errors import PreflightError
from provisioner.output import visible


def new_password(stdin: bool, generate: bool) -> Callable[[str], str | None]:
    """Return a function that asks for a user's new password; it gives None where one is to be generated."""
    if stdin and generate:
        raise typer.BadParameter("--password-stdin and --generate exclude each other")

    def ask(user: str) -> str | None:
        return None if generate else _given(user, stdin, "`--generate` makes one", twice=True)

    return ask


def known_password(stdin: bool) -> Callable[[str], str]:
    """Return a function that asks for the password that a user has."""
    return lambda user: _given(user, stdin, "give it on standard input with `--password-stdin`", twice=False)


def _given(user: str, stdin: bool, otherwise: str, *, twice: bool) -> str:
    if stdin:
        # As text that a file or `pass` gives: the end of its line is none of the password.
        given = sys.stdin.readline().rstrip("\r\n")
        if not given:
            raise PreflightError(
                f"the password of {user} is empty",
                where="the first line of standard input (`--password-stdin`)",
                hint="give it a line with the password" + (f"; {otherwise}" if twice else ""),
            )
        return given
    if not sys.stdin.isatty():
        raise PreflightError(
            "there is nobody to ask for a password",
            where="standard input is no terminal",
            hint=f"`--password-stdin` takes it from standard input; {otherwise}" if twice else otherwise,
        )
    try:
        typed: str = typer.prompt(
            visible(f"Password of {user}"), hide_input=True, confirmation_prompt=twice, err=True
        )
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return typed
