"""Write the generated parts of the reference anew, each between its marks; a test fails while one is stale.

python -m docs.generate
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import provisioner.actions
from provisioner.model.settings import settings_schema
from provisioner.output import Data
from tests.support.commands import COMMANDS

REFERENCE = Path(__file__).parent / "reference"


def data_classes() -> dict[str, type[Data]]:
    """Return the class of every command's data, by command."""
    for module in pkgutil.iter_modules(provisioner.actions.__path__, "provisioner.actions."):
        importlib.import_module(module.name)
    return {
        kind.command: kind for kind in Data.__subclasses__() if kind.__module__.startswith("provisioner.")
    }


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
                raise ValueError(
                    f"{field.name} means two things: {meanings[field.name]!r}, "
                    f"and in {kind.__name__} {text!r}"
                )
    return "\n".join(
        [
            "| key | what it is |",
            "| --- | --- |",
            *(f"| `{name}` | {text} |" for name, text in sorted(meanings.items())),
        ]
    )


def options(command: Any) -> str:
    """Return the table of what a command takes beside the options that all have; "" when there is nothing."""
    context = command.make_context(command.name, [], resilient_parsing=True)
    rows = []
    for option in command.params:
        if option.param_type_name != "option" or COMMON & set(option.opts):
            continue
        spelled, text = option.get_help_record(context)
        default = re.search(r"\[(?:default: )?([^\]]*?)(?:; x>=1)?\]$", text)
        known = default[1] if default and "default" in text else ""
        rows.append(
            f"| {_spelling(option, spelled)} | {option.help.rstrip('.')}"
            f"{f'; by default {known}' if known else ''} |"
        )
    return "\n".join(["| option | what it does |", "| --- | --- |", *rows]) if rows else ""


def _spelling(option: Any, spelled: str) -> str:
    """Return how the option is typed: `--lines INTEGER`, or `--runtime docker` or `embedded`."""
    long, *others = sorted(option.opts, key=len, reverse=True)
    value = spelled.partition(long)[2].strip()
    if value.startswith("<int"):
        value = "INTEGER"
    first, *more = value.strip("<>").split("|")
    *middle, last = [f"`{choice}`" for choice in more] or [""]
    choices = "".join(f", {choice}" for choice in middle) + (f" or {last}" if last else "")
    return f"`{f'{long} {first}'.strip()}`{choices}" + "".join(f", `{other}`" for other in others)


def settings() -> str:
    """Return the table of every key of `provision.yml`."""
    document = settings_schema()
    return "\n".join(
        [
            "| key | value | default | what it is |",
            "| --- | --- | --- | --- |",
            *_rows(document, document["$defs"]),
        ]
    )


def _rows(group: dict[str, Any], groups: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, schema in group["properties"].items():
        if "$ref" in schema:
            yield from _rows(groups[schema["$ref"].rpartition("/")[2]], groups, f"{before}{key}.")
            continue
        default = schema.get("default")
        shown = (
            ""
            if default in (None, [], {})
            else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        )
        text = schema.get("description", "").replace("\n", " ").replace("|", "\\|").rstrip(".")
        yield f"| `{before}{key}` | {_values(schema)} | {shown or '-'} | {text} |"


def _values(schema: dict[str, Any]) -> str:
    """Return what may stand there, in a few words."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(
            dict.fromkeys(_values(part) for part in schema["anyOf"] if part.get("type") != "null")
        )
    words = {
        "string": "text",
        "integer": "a number",
        "number": "a number",
        "boolean": "`true` or `false`",
        "array": "a list",
    }
    return words[schema["type"]]


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


COMMON = {"--stack", "--output", "--help"}
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "json.md": {"data by command": data_by_command, "keys of data": keys_of_data},
    "settings.md": {"settings": settings},
    "commands.md": {
        f"options of {name}": partial(options, command)
        for name, command in COMMANDS.items()
        if options(command)
    },
}


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
