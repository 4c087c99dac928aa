"""Every command of the program by its words: `up`, `user add`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from provisioner.cli.app import app

# Typer's own classes: it may or may not be built on the package click.
PROGRAM: Any = typer.main.get_command(app)


def _flat(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _flat(command, f"{before}{name} ")
        else:
            yield before + name, command


_ALL = dict(_flat(PROGRAM))
COMMANDS: dict[str, Any] = {name: command for name, command in _ALL.items() if not command.hidden}
# Other names of commands, which do the same.
_ALIASES = {
    name: next(known for known, one in COMMANDS.items() if one.help == command.help)
    for name, command in _ALL.items()
    if command.hidden
}


def named(words: list[str]) -> tuple[str, list[str]]:
    """The command that the words begin with, and the rest of them; "" when they begin with none."""
    for count in (2, 1):
        name = " ".join(words[:count])
        if (name := _ALIASES.get(name, name)) in COMMANDS:
            return name, words[count:]
    return "", words
