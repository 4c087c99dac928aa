"""YAML text as a person wrote it: its data, and where each value stands."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import yaml

from provisioner.errors import EditRefused

BOM = "\ufeff"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_STRINGS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_BREAK = re.compile(r"\r\n|\n|\r")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class _Loader(yaml.SafeLoader):
    """Composes an alias as a node of its own, marked where the alias stands."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        node: Any = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            node = copy.copy(node)
            node.start_mark, node.end_mark = event.start_mark, event.end_mark
            node.alias, node.anchor = event.anchor, None
        else:
            node.alias, node.anchor = None, event.anchor
        return node


def decode(content: bytes, source: str) -> str:
    """Return the text, with a byte-order mark kept; raise EditRefused when it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise refused(source, line, "the file is not UTF-8", "save it as UTF-8") from error


def compose(text: str, source: str) -> yaml.Node | None:
    """Return the document's nodes with their marks; None when there are none.

    Raise EditRefused for what is no single YAML document, or names a key twice.
    """
    loader = _open(text, source)
    try:
        node: yaml.Node | None = loader.get_single_node()
    except (yaml.YAMLError, RecursionError) as error:
        raise _yaml_refusal(source, text, error) from error
    finally:
        loader.dispose()
    for inner in walk(node):
        _refuse_duplicates(inner, source)
    return node


def load(text: str, source: str) -> Any:
    """Return the document's data; None when there is none."""
    loader = _open(text, source)
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _yaml_refusal(source, text, error) from error
    finally:
        loader.dispose()


def walk(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """Yield every node of the document once; what stands behind an alias is met at its anchor."""
    pending = [node] if node is not None else []
    while pending:
        current = pending.pop()
        yield current
        if getattr(current, "alias", None):
            continue
        if isinstance(current, yaml.MappingNode):
            pending += [inner for pair in current.value for inner in pair]
        elif isinstance(current, yaml.SequenceNode):
            pending += current.value


def entry(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the nodes of a key and its value; None when the mapping has no such key."""
    for name, value in node.value:
        if isinstance(name, yaml.ScalarNode) and name.value == key:
            return name, value
    return None


def is_null(node: yaml.Node) -> bool:
    """Return whether the value is null, written or left out."""
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def line_of(node: yaml.Node) -> int:
    """Return the line, from 1, where the node begins."""
    return int(node.start_mark.line) + 1


def line_break(text: str) -> str:
    """Return the line break that the text uses first; a newline when it has none."""
    found = _BREAK.search(text)
    return found.group() if found else "\n"


def line_end(text: str, index: int) -> int:
    """Return where the line that holds the index ends, before its break."""
    found = _BREAK.search(text, index)
    return found.start() if found else len(text)


def line_start(text: str, index: int) -> int:
    """Return where the line that holds the index begins, after a byte-order mark."""
    start = max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1
    return start + 1 if text.startswith(BOM, start) else start


def quote(value: str, style: str | None = None) -> str:
    """Return the string in quotes, on one line; in single ones when `style` asks for it and they suffice."""
    printable = all(character.isprintable() for character in value)
    if style == "'" and printable and "'" not in value:
        return f"'{value}'"
    return '"' + "".join(_escape(character) for character in value) + '"'


def flow(value: object, source: str) -> str:
    """Return the value on one line, strings quoted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{key_text(str(key))}: {flow(inner, source)}" for key, inner in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(flow(inner, source) for inner in value) + "]"
    raise refused(source, 0, f"a value of type {type(value).__name__} cannot be written", "put it in quotes")


def key_text(key: str) -> str:
    """Return the key as it is written: plain where that is safe, else quoted."""
    plain = _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_STRINGS
    return key if plain else quote(key)


def refused(source: str, line: int, what: str, hint: str = "", why: str = "") -> EditRefused:
    """Return the error for a file that cannot be edited safely, with the line where there is one."""
    place = f"{source}, line {line}" if line else source
    return EditRefused(
        f"{source} cannot be edited safely: {what}",
        where=place,
        why=why,
        hint=hint,
        left_as="the file is untouched",
    )


def _open(text: str, source: str) -> _Loader:
    try:
        return _Loader(text)
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise refused(
            source, number, "it is not valid YAML", "correct that line", why=f"character {error.character:#x}"
        ) from error


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _refuse_duplicates(node: yaml.Node, source: str) -> None:
    if not isinstance(node, yaml.MappingNode) or getattr(node, "alias", None):
        return
    seen: dict[tuple[str, str], int] = {}
    for name, _ in node.value:
        if not isinstance(name, yaml.ScalarNode):
            continue
        known = (name.tag, name.value)
        if known in seen:
            what = f"the key {name.value!r} is there twice, in lines {seen[known]} and {line_of(name)}"
            raise refused(source, line_of(name), what, "remove one of them")
        seen[known] = line_of(name)


def _yaml_refusal(source: str, text: str, error: Exception) -> EditRefused:
    if isinstance(error, yaml.composer.ComposerError) and "single document" in str(error):
        mark = error.problem_mark
        return refused(
            source,
            mark.line + 1 if mark else 0,
            "it holds several documents",
            "keep one document in the file",
        )
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 0
    problem = str(getattr(error, "problem", "") or getattr(error, "reason", "") or error)
    if (
        mark
        and "\t" in text[line_start(text, mark.index) : line_end(text, mark.index)]
        and "'\\t'" in problem
    ):
        return refused(
            source, line, "a tab stands where YAML allows only spaces", "replace the tab by spaces"
        )
    return refused(source, line, "it is not valid YAML", "correct that line", why=problem)
