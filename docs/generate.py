"""Write the generated parts of the reference anew, each between its two marks; a test fails while one is stale.

python docs/generate.py
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_type_hints

import provisioner.actions
from provisioner.output import Data

REFERENCE = Path(__file__).parent / "reference"


def data_classes() -> dict[str, type[Data]]:
    """Return the class of every command's data, by command."""
    for module in pkgutil.iter_modules(provisioner.actions.__path__, "provisioner.actions."):
        importlib.import_module(module.name)
    return {kind.command: kind for kind in Data.__subclasses__() if kind.__module__.startswith("provisioner.")}


def described(kind: type[Data]) -> Iterator[tuple[Field[Any], str]]:
    """Yield each key of a command's data with what it is; raise ValueError for one that nobody described."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        texts = getattr(hints[field.name], "__metadata__", None) or _below_none(hints[field.name])
        if not texts:
            raise ValueError(f"{kind.__name__}.{field.name} has no description: use Annotated")
        yield field, texts[0]


def _below_none(hint: Any) -> tuple[str, ...]:
    """Return the description of `Annotated[...] | None`."""
    found = [getattr(part, "__metadata__", ()) for part in getattr(hint, "__args__", ())]
    return next((texts for texts in found if texts), ())


def data_by_command() -> str:
    """Return the table of each command's keys: those that it always gives, and those that may be absent."""
    rows = ["| command | always | where it applies |", "| --- | --- | --- |"]
    for command, kind in sorted(data_classes().items()):
        always = [field.name for field, _ in described(kind) if field.default is MISSING]
        at_times = [field.name for field, _ in described(kind) if field.default is not MISSING]
        rows.append(f"| `{command}` | {_names(always)} | {_names(at_times)} |")
    return "\n".join(rows)


def keys_of_data() -> str:
    """Return the table of what each key is; raise ValueError for one that means two things."""
    meanings: dict[str, str] = {}
    for kind in data_classes().values():
        for field, text in described(kind):
            if meanings.setdefault(field.name, text) != text:
                raise ValueError(f"{field.name} means two things: {meanings[field.name]!r}, and in {kind.__name__} {text!r}")
    return "\n".join(["| key | what it is |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in sorted(meanings.items()))])


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


PARTS = {"json.md": {"data by command": data_by_command, "keys of data": keys_of_data}}


def generated(page: str) -> str:
    """Return the page as it should be."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    for name, make in PARTS[page].items():
        pattern = re.compile(f"(<!-- generated: {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, make=make: found[1] + make() + found[2], text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{page} has {count} places for {name}")
    return text


if __name__ == "__main__":
    for name in PARTS:
        (REFERENCE / name).write_text(generated(name), encoding="utf-8")
