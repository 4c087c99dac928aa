"""The text of `provision.yml` to settings: every fault at once, each with its line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from provisioner.errors import SettingsError
from provisioner.model.proxy import conflicts
from provisioner.model.setting_keys import setting_names
from provisioner.model.settings import SOURCE, ServerSettings, Settings, cut, shown
from provisioner.model.stores.table import own_settings

# No key has more parts than this; a file can lead to itself with anchors, and go down without end.
_DEEPEST = 4


def parse_settings(text: str, source: str = SOURCE) -> Settings:
    """Return the settings of the text; raise SettingsError with all its faults, each with its line."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}:{mark.line + 1}" if mark else source
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise _gathered(source, [_fault(place, f"not YAML: {problem}")]) from error
    except RecursionError as error:
        raise _gathered(
            source, [_fault(source, "not YAML that can be read: it is nested too deeply")]
        ) from error
    if node is None or data is None:
        return Settings()
    if not isinstance(data, dict):
        raise _gathered(source, [_fault(f"{source}:1", "must be a mapping of keys, such as server:")])
    lines = dict(_lines(node))
    faults = [(line, f"{cut(path)}: stands twice") for path, line in _duplicates(node)]
    settings = None
    try:
        settings = Settings.model_validate(
            {str(key): value for key, value in data.items()}, context=own_settings()
        )
    except ValidationError as invalid:
        for detail in invalid.errors():
            faults.append(_fault_of(detail, lines))
    for key, text_of_fault in _contradictions(data.get("server")):
        line = lines.get(f"server.{key}", lines.get("server", 1))
        faults.append((line, f"server.{key}: {text_of_fault}"))
    if faults or settings is None:
        in_order = sorted(faults, key=lambda fault: fault[0])
        raise _gathered(source, [_fault(f"{source}:{line}", text) for line, text in in_order])
    return settings


def settings_of(said: Mapping[str, object]) -> Settings | None:
    """Return the settings of which `model.settings.said` gave this; None where this release has no such."""
    tree: dict[str, Any] = {}
    for name, value in said.items():
        *groups, key = name.split(".")
        group = tree
        for one in groups:
            group = group.setdefault(one, {})
        group[key] = value
    try:
        return Settings.model_validate(tree, context=own_settings())
    except ValidationError:
        return None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader; a value that does not fit its tag or form is an error with its line.

    The date 2001-99-99 is such a value.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"a value that is no {kind}", node.start_mark
            ) from error


def _contradictions(server: object) -> Iterator[tuple[str, str]]:
    """Yield what the keys of `server` do wrong together.

    Yield nothing while one of them is wrong by itself, unknown ones aside.
    """
    keys = server if isinstance(server, dict) else {}
    try:
        known = ServerSettings.model_validate(
            {key: value for key, value in keys.items() if key in ServerSettings.model_fields}
        )
    except ValidationError:
        return
    yield from conflicts(known)


def _lines(node: yaml.Node, path: str = "", depth: int = _DEEPEST) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode) and depth:
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            yield from _lines(value, below, depth - 1)
            yield below, key.start_mark.line + 1


def _duplicates(node: yaml.Node, path: str = "", depth: int = _DEEPEST) -> Iterator[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode) or not depth:
        return
    seen: set[str] = set()
    for key, value in node.value:
        below = f"{path}.{key.value}" if path else str(key.value)
        if below in seen:
            yield below, key.start_mark.line + 1
        seen.add(below)
        yield from _duplicates(value, below, depth - 1)


def _fault_of(detail: Any, lines: dict[str, int]) -> tuple[int, str]:
    """Return the fault's line, and its text."""
    location = [str(part) for part in detail["loc"]]
    path = ".".join(location)
    while location and ".".join(location) not in lines:
        location.pop()
    line = lines.get(".".join(location), 1)
    path, known = cut(path), cut(".".join(location))
    if detail["type"] == "extra_forbidden":
        close = difflib.get_close_matches(path, list(setting_names()), n=1, cutoff=0.6)
        text = f"{path}: unknown key" + (f", did you mean {close[0]}?" if close else "")
    elif detail["type"] == "missing":
        text = f"{path}: must be given"
    elif detail["type"] == "value_error":
        text = f"{known or path}: {detail['ctx']['error']}"
    else:
        text = f"{known or path}: {_plain(detail)}"
    return line, text


def _plain(detail: Any) -> str:
    """Return pydantic's message in the words of a person who writes YAML."""
    context = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        return f"must be one of {context['expected']}, not {shown(detail['input'])}"
    if detail["type"] == "string_pattern_mismatch":
        return f"{shown(detail['input'])} does not fit the pattern {context['pattern']}"
    if detail["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return "must be a mapping of keys"
    return re.sub(r"^Input should", "should", str(detail["msg"])) + f", not {shown(detail['input'])}"


def _fault(place: str, text: str) -> SettingsError:
    return SettingsError(
        f"{place} {text}", where=place, hint="fix the line; `provision schema` prints what is allowed"
    )


def _gathered(source: str, faults: list[SettingsError]) -> SettingsError:
    return SettingsError(
        f"{source} has {len(faults)} fault{'' if len(faults) == 1 else 's'}", faults=tuple(faults)
    )
