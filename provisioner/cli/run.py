"""The frame around every command: its two common options, its output, its exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from provisioner.cli.next_steps import as_typed, typed_again
from provisioner.errors import Bug, Interrupted, ProvisionError
from provisioner.output import Recorder, Result, TerminalReporter, error_lines, result_document, visible

_NOT_YOURS = "let this user read and write it, or do this as the user who may"
_FULL = "free some space there, and try again"
# Errors of files that are the machine's, not the program's; with the next step.
_OF_THE_MACHINE = {
    errno.EACCES: _NOT_YOURS,
    errno.EPERM: _NOT_YOURS,
    errno.EROFS: "use a directory of a file system that can be written",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.ENAMETOOLONG: "use a directory with a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n), and try again",
}


class Output(str, Enum):
    """The form of a command's result."""

    text = "text"
    json = "json"


StackOption = Annotated[
    Path | None, typer.Option("--stack", metavar="DIR", help="The stack's directory.", show_default=False)
]
OutputOption = Annotated[
    Output, typer.Option("--output", help="text for people, json: one document on stdout.")
]


def run(command: str, output: Output, action: Callable[[Recorder], Result]) -> None:
    """Call the action, show what it gives, and end with its exit code; no error leaves it as a traceback."""
    completed = as_typed()
    reporter = Recorder(completed) if output is Output.json else TerminalReporter(completed=completed)
    try:
        result = action(reporter)
    except ProvisionError as error:
        result = Result(errors=error.all())
    except KeyboardInterrupt:
        again = f"`{typed_again(command)}` again goes on from here"
        result = Result(
            errors=(Interrupted("interrupted", hint=again, left_as="what was done so far stays"),)
        )
    except OSError as error:
        refused = error.errno in _OF_THE_MACHINE and error.filename is not None
        result = Result(errors=(_refused(error) if refused else _bug(error),))
    except Exception as error:
        result = Result(errors=(_bug(error),))
    result = replace(
        result,
        lines=tuple(completed(line) for line in result.lines),
        errors=tuple(
            error.with_(hint=completed(error.hint), left_as=completed(error.left_as))
            for error in result.errors
        ),
    )
    _show(command, result, output, reporter)
    sys.stdout.flush()
    raise typer.Exit(result.exit_code)


def _show(command: str, result: Result, output: Output, reporter: Recorder) -> None:
    if output is Output.json:
        typer.echo(result_document(command, result, reporter))
        return
    if result.lines and (reporter.steps or reporter.checks):
        typer.echo("", err=True)
    as_they_are = result.verbatim and not sys.stdout.isatty()
    for line in result.lines:
        typer.echo(line if as_they_are else visible(line))
    for error in result.errors:
        for line in error_lines(error):
            typer.echo(visible(line), err=True)


def _refused(error: OSError) -> ProvisionError:
    """Return the error for what the machine did not let us do with a file, which is no bug."""
    return ProvisionError(
        f"{error.filename}: {str(error.strerror).lower()}",
        hint=_OF_THE_MACHINE[error.errno or 0],
        left_as="what was done so far stays",
    )


def _bug(error: Exception) -> Bug:
    """Return the error for a bug of ours.

    Print the traceback only when asked for: it may hold what nobody should see.
    """
    if os.environ.get("PROVISION_DEBUG"):
        traceback.print_exc()
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Bug(
        f"a bug in provision: {type(error).__name__}: {error}",
        where=f"{Path(last.filename).name}:{last.lineno}",
        hint="report it with this line; PROVISION_DEBUG=1 shows the whole traceback",
        left_as="unknown; `provision status` shows it",
    )


def confirm(question: str) -> bool:
    """Ask the user and return whether the answer is yes; no one to ask means no."""
    try:
        return typer.confirm(visible(question), err=True)
    except typer.Abort:
        return False


def confirming(output: Output) -> Callable[[str], bool] | None:
    """Return the function that asks the user for a yes; None for JSON output, or with nobody to ask."""
    return confirm if output is Output.text and sys.stdin.isatty() else None
