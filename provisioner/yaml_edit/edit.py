"""Old bytes of a Kedro configuration file and changes -> new bytes; nothing but the changed values moves."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from provisioner.errors import EditRefused
from provisioner.yaml_edit import nodes
from provisioner.yaml_edit.nodes import (
    BOM,
    compose,
    decode,
    entry,
    flow,
    is_null,
    key_text,
    line_of,
    load,
    quote,
    refused,
)
from provisioner.yaml_edit.refusals import INTERPOLATION, refuse_interpolated, refuse_shared

TRACKING_URI = ("server", "mlflow_tracking_uri")
REGISTRY_URI = ("server", "mlflow_registry_uri")
CREDENTIALS = ("server", "credentials")
_STEP = 2
_BREAKS = "\r\n"


@dataclass(frozen=True)
class Change:
    """A value to set at a path of keys, or (`remove`) to take away with its key.

    One of the project's own (`carried`) may interpolate.
    """

    path: tuple[str, ...]
    value: object = None
    remove: bool = False
    carried: bool = False


def read(old: bytes, source: str) -> dict[str, Any]:
    """Return the file's data; raise EditRefused when it is no mapping that could be edited."""
    text = decode(old, source)
    root = compose(text, source)
    if root is None or (is_null(root) and not _written(text, root)):
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise refused(
            source,
            line_of(root),
            "its top level is not a mapping",
            "write keys and values, as `server:` with an indented block",
        )
    data: dict[str, Any] = load(text, source)
    return data


def line(old: bytes, path: Sequence[str], source: str) -> int:
    """Return the line, from 1, where the value of that path begins; 0 when there is none."""
    node = compose(decode(old, source), source)
    for key in path:
        found = entry(node, key) if isinstance(node, yaml.MappingNode) else None
        if found is None:
            return 0
        node = found[1]
    return line_of(node) if node is not None else 0


def edit(old: bytes, changes: Sequence[Change], source: str) -> bytes:
    """Return the file with those values set or removed, and every other byte as it was.

    Raise EditRefused when that is not certain.
    """
    read(old, source)
    text = decode(old, source)
    # A new key goes first into its block: from the last to the first, they end up in the order given.
    for change in reversed(changes):
        text = _remove(text, change.path, source) if change.remove else _set(text, change, source)
    return text.encode("utf-8")


def _set(text: str, change: Change, source: str) -> str:
    if isinstance(change.value, str) and not change.carried:
        refuse_interpolated(change.value, source)
    data = load(text, source) or {}
    expected = _with(data, change.path, change.value)
    if expected == data and _get(data, change.path) is not None:
        return text
    for candidate in _settings(text, change, source):
        if _loads_as(candidate, expected):
            return candidate
    where = ".".join(change.path)
    raise refused(
        source, 0, f"there is no certain place for {where}", f"write {where} by hand, then link again"
    )


def _settings(text: str, change: Change, source: str) -> Iterator[str]:
    """Yield texts that should have the value set, the most natural first."""
    root = compose(text, source)
    if root is None or is_null(root):
        yield _appended(text, change.path, change.value, 0, _STEP, source)
        return
    step = _indentation(root)
    parent: yaml.Node | None = None
    node = root
    for depth, key in enumerate(change.path):
        if not isinstance(node, yaml.MappingNode):
            raise refused(
                source,
                line_of(node),
                f"{'.'.join(change.path[:depth])} is not a block of keys",
                "make it one, then link again",
            )
        refuse_shared(node, root, source)
        found = entry(node, key)
        rest = change.path[depth:]
        if found is None:
            yield from _inserted(text, node, parent, rest, change.value, step, source)
            return
        parent, value = found
        if is_null(value) and len(rest) > 1:
            yield from _filled(text, parent, value, rest[1:], change.value, step, source)
            return
        node = value
    refuse_shared(node, root, source)
    yield _replaced(text, node, change, source)


def _replaced(text: str, node: yaml.Node, change: Change, source: str) -> str:
    name = ".".join(change.path)
    if not isinstance(node, yaml.ScalarNode):
        raise refused(source, line_of(node), f"{name} is not a single value", "make it one, then link again")
    if INTERPOLATION in node.value:
        raise refused(
            source,
            line_of(node),
            f"{name} is put together by interpolation ({node.value})",
            f"write a plain value for {name}, or set what it refers to, then link again",
        )
    start, end = node.start_mark.index, node.end_mark.index
    new = quote(change.value, node.style) if isinstance(change.value, str) else flow(change.value, source)
    if start == end:
        return f"{text[:start]} {new}{text[end:]}"
    broken = text[end - 1] in _BREAKS
    return text[:start] + new + (nodes.line_break(text) if broken else "") + text[end:]


def _filled(
    text: str, key: yaml.Node, null: yaml.Node, path: tuple[str, ...], value: object, step: int, source: str
) -> Iterator[str]:
    """Yield texts with a block in place of null: below its key, or in braces where null is written out."""
    start, end = null.start_mark.index, null.end_mark.index
    braces = _flow_entry(path, value, source)
    if start == end:
        end_of_line = nodes.line_end(text, start)
        block = _block(path, value, key.start_mark.column + step, step, nodes.line_break(text), source)
        yield text[:end_of_line] + nodes.line_break(text) + block + text[end_of_line:]
        yield f"{text[:start]} {{{braces}}}{text[start:]}"
    else:
        yield f"{text[:start]}{{{braces}}}{text[end:]}"


def _inserted(
    text: str,
    node: yaml.MappingNode,
    parent: yaml.Node | None,
    path: tuple[str, ...],
    value: object,
    step: int,
    source: str,
) -> Iterator[str]:
    """Yield texts with a key that its mapping lacks.

    It is first in a block below its header, last at the top level, first in braces.
    """
    if node.flow_style:
        first = (
            node.value[0][0].start_mark.index if node.value else text.index("{", node.start_mark.index) + 1
        )
        comma = ", " if node.value else ""
        yield f"{text[:first]}{_flow_entry(path, value, source)}{comma}{text[first:]}"
        return
    column = node.value[0][0].start_mark.column if node.value else 0
    broken = nodes.line_break(text)
    if parent is None:
        yield _appended(text, path, value, column, step, source)
    else:
        header = nodes.line_end(text, parent.end_mark.index)
        yield text[:header] + broken + _block(path, value, column, step, broken, source) + text[header:]
    first = nodes.line_start(text, node.value[0][0].start_mark.index)
    yield text[:first] + _block(path, value, column, step, broken, source) + broken + text[first:]


def _appended(text: str, path: tuple[str, ...], value: object, column: int, step: int, source: str) -> str:
    """Return the text with a block at its end.

    A final newline is there exactly when it was there (or the text was empty).
    """
    broken = nodes.line_break(text)
    block = _block(path, value, column, step, broken, source)
    if text in ("", BOM) or text[-1] in _BREAKS:
        return text + block + broken
    return text + broken + block


def _block(path: tuple[str, ...], value: object, column: int, step: int, broken: str, source: str) -> str:
    lines = [f"{' ' * (column + depth * step)}{key_text(key)}:" for depth, key in enumerate(path)]
    return broken.join(lines) + " " + flow(value, source)


def _flow_entry(path: tuple[str, ...], value: object, source: str) -> str:
    opened = "".join(f"{key_text(key)}: {{" for key in path[:-1])
    return f"{opened}{key_text(path[-1])}: {flow(value, source)}{'}' * (len(path) - 1)}"


def _remove(text: str, path: tuple[str, ...], source: str) -> str:
    """Return the text without that key, and without the block that held only it and no comment."""
    data = load(text, source) or {}
    holder = _get(data, path[:-1])
    if not isinstance(holder, dict) or path[-1] not in holder:
        return text
    root = compose(text, source)
    chain: list[tuple[yaml.MappingNode, yaml.Node, yaml.Node]] = []
    node = root
    for key in path:
        found = entry(node, key) if isinstance(node, yaml.MappingNode) else None
        if found is None or not isinstance(node, yaml.MappingNode) or root is None:
            raise refused(
                source, 0, f"{'.'.join(path)} comes from somewhere else in the file", "remove it by hand"
            )
        refuse_shared(node, root, source)
        chain.append((node, *found))
        node = found[1]
    for candidate, expected in _removals(text, data, path, chain):
        if _loads_as(candidate, expected):
            return candidate
    raise refused(
        source,
        line_of(chain[-1][1]),
        f"{'.'.join(path)} cannot be taken out with certainty",
        "remove it by hand",
    )


def _removals(
    text: str,
    data: dict[str, Any],
    path: tuple[str, ...],
    chain: list[tuple[yaml.MappingNode, yaml.Node, yaml.Node]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield texts without the key, each with the data it should have."""
    mapping, name, value = chain[-1]
    if len(path) > 1 and len(mapping.value) == 1:
        _, outer_name, outer_value = chain[-2]
        inside = (
            text[outer_name.end_mark.index : name.start_mark.index] + text[_end(value) : _end(outer_value)]
        )
        if "#" in inside:
            shorter = _cut(text, mapping, name, value)
            colon = outer_name.end_mark.index + text[outer_name.end_mark.index :].index(":") + 1
            yield shorter[:colon] + " {}" + shorter[colon:], _with(data, path[:-1], {})
        else:
            yield from _removals(text, data, path[:-1], chain[:-1])
        return
    yield _cut(text, mapping, name, value), _without(data, path)


def _cut(text: str, mapping: yaml.MappingNode, name: yaml.Node, value: yaml.Node) -> str:
    start, end = name.start_mark.index, _end(value)
    if mapping.flow_style:
        position = next(index for index, (key, _) in enumerate(mapping.value) if key is name)
        if position + 1 < len(mapping.value):
            end = mapping.value[position + 1][0].start_mark.index
        elif position:
            start = _end(mapping.value[position - 1][1])
        return text[:start] + text[end:]
    if text[end - 1] in _BREAKS:
        return text[: nodes.line_start(text, start)] + text[end:]
    rest = text[end : nodes.line_end(text, end)]
    if rest.strip():
        # The comment of that line is the user's.
        return text[:start] + rest.lstrip() + text[end + len(rest) :]
    after = re.compile(r"\r\n|\n|\r|").match(text, end + len(rest))
    return text[: nodes.line_start(text, start)] + text[after.end() if after else end :]


def _end(node: yaml.Node) -> int:
    """Return where the node's own text ends: a block's end mark lies behind the comments that follow it."""
    if (
        isinstance(node, yaml.CollectionNode)
        and not node.flow_style
        and node.value
        and not getattr(node, "alias", None)
    ):
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _indentation(root: yaml.Node) -> int:
    """Return how far the file indents a nested block."""
    for node in nodes.walk(root):
        if isinstance(node, yaml.MappingNode) and not node.flow_style:
            for name, value in node.value:
                if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
                    column = int(value.value[0][0].start_mark.column) - int(name.start_mark.column)
                    return column if column > 0 else _STEP
    return _STEP


def _written(text: str, node: yaml.Node) -> bool:
    return bool(text[node.start_mark.index : node.end_mark.index].strip())


def _loads_as(text: str, expected: object) -> bool:
    """Return whether the text is one document with exactly that data."""
    try:
        compose(text, "")
        found = load(text, "")
    except EditRefused:
        return False
    return (found or {}) == (expected or {})


def _get(data: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(data, dict) or key not in data:
            return None
        data = data[key]
    return data


def _with(data: dict[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    holder = changed
    for key in path[:-1]:
        if not isinstance(holder.get(key), dict):
            holder[key] = {}
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def _without(data: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return changed
