"""Next steps as this user types them.

A command that is named in an error or in a last line gets what was typed for this one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# What another command takes in the same sense, by parameter.
_SHARED = ("stack", "project", "uri", "user", "ca_file", "python")
# What the same command needs once more. Neither what says how to show or to ask, nor what a next step does in
# place of it (`--dry-run`).
_REPEATED = (
    *_SHARED,
    "host",
    "env",
    "runtime",
    "domain",
    "port",
    "domain_elsewhere",
    "ship_images",
    "no_link",
    "login",
    "old_login",
)
# Commands for a directory that has no stack yet.
_MAKING = ("up", "init", "render", "deploy")
# Ways of naming the stack's directory.
_ALIASES = {("render", "directory"): "stack"}
_NAMED = re.compile(r"(?<=`)provision [a-z][^`]*(?=`)|(?<=^next {10})provision [a-z].*$")

_typed: ContextVar[typer.Context | None] = ContextVar("typed", default=None)


class Command(TyperCommand):
    """A command that keeps what was typed for it, for `as_typed`."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Call the command."""
        token = _typed.set(ctx)
        try:
            return super().invoke(ctx)
        finally:
            _typed.reset(token)


def as_typed() -> Callable[[str], str]:
    """Return what completes each `provision COMMAND` in a text, in backticks or as a last line's next step.

    It gets the directory of the stack, the project, the address, the login's name and the host that were
    typed for this command, where that command takes them and the text names none. Nothing is added to a text
    that names no command of ours.
    """
    context = _typed.get()
    if context is None:
        return lambda text: text
    given = _given(context)
    if "uri" in given:
        # An address in place of the stack's: what is to be done there is not done to a stack here.
        given.pop("stack", None)
    root = context.find_root().command
    return lambda text: _NAMED.sub(
        lambda found: _completed(found[0], root, context.info_name or "", given), text
    )


def typed_again(command: str) -> str:
    """Return the command line of this command as it was typed; its name alone where nobody typed it."""
    context = _typed.get()
    if context is None:
        return f"provision {command}"
    given = _given(context)
    words = [
        word for parameter in context.command.params for word in _words(parameter, given.get(parameter.name))
    ]
    return " ".join([context.command_path, *words])


def _given(context: typer.Context) -> dict[str, Any]:
    """Return what was typed, by parameter."""
    typed = {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    return {_ALIASES.get((context.info_name or "", name), name): context.params[name] for name in typed}


def _completed(text: str, root: Any, current: str, given: dict[str, Any]) -> str:
    try:
        words = shlex.split(text)[1:]
    except ValueError:
        return text
    command, context = root, typer.Context(root)
    while isinstance(command, TyperGroup) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
        context = typer.Context(command, parent=context, ignore_unknown_options=True)
    if isinstance(command, TyperGroup):
        return text
    named = {name for name, value in command.make_parser(context).parse_args(words)[0].items() if value}
    if "stack" in named:
        # Said in full, for whatever place and time.
        return text
    again = command.name == current
    # Another command may do more with several than this one was asked to do with one.
    taken = {
        parameter.name: parameter
        for parameter in command.params
        if again or not getattr(parameter, "multiple", False)
    }
    # What is to be done where no stack is, such as an admin's part, is done to another one.
    no_stack = not again and command.name not in _MAKING and not _is_directory(given.get("stack", "."))
    elsewhere = {"stack"} if no_stack or "uri" in named else set()
    wanted = [
        name
        for name in (_REPEATED if again else _SHARED)
        if name in given and name in taken and name not in named | elsewhere
    ]
    return " ".join([text, *(word for name in wanted for word in _words(taken[name], given[name]))])


def _is_directory(path: str | Path) -> bool:
    # Who may not look there is told so by the error whose next step this is.
    with suppress(OSError):
        return Path(path).is_dir()
    return False


def _words(parameter: Any, value: Any) -> list[str]:
    """Return the parameter as words of a command line."""
    if value is None or value is False:
        return []
    values = value if isinstance(value, list | tuple) else [value]
    if parameter.param_type_name == "argument":
        return [shlex.quote(str(value)) for value in values]
    option = max(parameter.opts, key=len)
    if value is True:
        return [option]
    return [word for value in values for word in (option, shlex.quote(str(getattr(value, "value", value))))]
