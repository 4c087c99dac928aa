"""The texts of the repository, taken apart: sections, tables, code, command lines and settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provisioner.model.settings import Settings
from tests.support.commands import named

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def options_of(command: Any) -> set[str]:
    return {
        name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
    } | {"--help"}


def arguments_of(command: Any) -> list[str]:
    context = command.make_context(command.name, [], resilient_parsing=True)
    return [piece.strip("{}") for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]


def sections(text: str) -> dict[str, str]:
    """The text below each heading of the second level, by heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def command_sections() -> dict[str, tuple[list[str], str]]:
    """The arguments and the text of each command's section in docs/reference/commands.md."""
    found = {}
    for heading, body in sections(text_of("docs/reference/commands.md")).items():
        if match := re.fullmatch(r"`provision ([^`]+)`", heading):
            name, arguments = named(match[1].split())
            found[name] = (arguments, body)
    return found


def table(text: str) -> list[list[str]]:
    """The cells of every table row; an escaped bar is none."""
    rows = [line for line in text.splitlines() if line.startswith("| ") and not set(line) <= set("| -")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def documented_options(text: str) -> set[str]:
    """The options that the first column of a section's tables names."""
    return {code.split()[0] for row in table(text) for code in code_in(row[0]) if code.startswith("-")}


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def example_settings() -> list[str]:
    """Every example of `provision.yml`; Compose's files are none, nor are the tutorial's, of a project."""
    pages = [text_of(document) for document in DOCUMENTS if document != "docs/tutorial.md"]
    blocks = [block for page in pages for block in code_blocks(page, "yaml")]
    return [block for block in blocks if not block.startswith("services:")]


def provision_lines(text: str) -> Iterator[list[str]]:
    """Every command line of `provision` in code, as words after the program's name."""
    lines = [line for block in code_blocks(text, "sh") for line in block.splitlines()]
    # Code between backquotes in running text; a name of a file or a package is no command line.
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    for line in lines:
        for found in re.findall(r"(?:^|\$\(|[A-Z_]+=\S+ |bin/)provision((?: [^#|>)\]]*)?)", line):
            if "[" not in line:
                yield shlex.split(found)


def setting_codes(text: str) -> set[str]:
    """Names in backquotes that can only be settings: `server.port`, or with a value: `server.auth: basic`."""
    groups = "|".join(re.escape(name) for name in Settings.model_fields)
    return {
        match
        for match in re.findall(rf"`((?:{groups})\.[a-z_.]*[a-z_])(?:: [^`]*)?`", text)
        if not match.endswith((".yml", ".json"))
    }
