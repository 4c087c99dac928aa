"""Whether a value of JSON is of a type; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_UNIONS, _MAPPINGS = (Union, UnionType), (dict, Mapping)
_WORDS = {str: "text", bool: "true or false", int: "number", float: "number", object: "value"}


def check_types(data: Mapping[str, object], types: Mapping[str, Any], where: str = "") -> None:
    """Raise TypeError, which names the key, for a value that is not of its type; keys without one are left.

    A tuple is a list in JSON, a dataclass a mapping.
    """
    for key, expected in types.items():
        if key in data and not _is(data[key], expected):
            raise TypeError(f"{where}{key} is no {_word(expected)}")


def types_of(dataclass: type) -> dict[str, Any]:
    """Return the type of each field."""
    return get_type_hints(dataclass)


def _is(value: object, expected: Any) -> bool:
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in _UNIONS:
        return any(_is(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, list) and _are(value, arguments)
    if origin in _MAPPINGS:
        return isinstance(value, dict) and all(_is(one, arguments[1]) for one in value.values())
    if is_dataclass(expected):
        types = get_type_hints(expected)
        known = [item.name for item in fields(expected)]
        return isinstance(value, dict) and all(_is(value[one], types[one]) for one in known if one in value)
    return isinstance(value, str) and value in arguments if origin is Literal else _is_plain(value, expected)


def _is_plain(value: object, expected: Any) -> bool:
    if expected in (int, float):
        # True is an int for Python, and 5 is a float for JSON.
        return type(value) is int or (expected is float and type(value) is float)
    return expected is object or isinstance(value, expected)


def _are(values: list[object], types: tuple[Any, ...]) -> bool:
    if types[-1] is Ellipsis:
        return all(_is(value, types[0]) for value in values)
    return len(values) == len(types) and all(map(_is, values, types))


def _word(expected: Any) -> str:
    """Return what a person calls such a value."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in _UNIONS:
        return " or ".join(_word(one) for one in arguments if one is not type(None))
    if origin is Literal:
        return " or ".join(arguments)
    if origin is tuple:
        return f"list of {_word(arguments[0])}"
    return f"mapping to {_word(arguments[1])}" if origin in _MAPPINGS else _WORDS.get(expected, "mapping")
