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


COMMANDS: dict[str, Any] = dict(_flat(PROGRAM))


def named(words: list[str]) -> tuple[str, list[str]]:
    """The command that the words begin with, and the rest of them; "" when they begin with none."""
    for count in (2, 1):
        if (name := " ".join(words[:count])) in COMMANDS:
            return name, words[count:]
    return "", words
