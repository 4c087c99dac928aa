"""`provision.yml`: text to a value, or to the exact message with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import ProvisionError, SettingsError
from provisioner.model.proxy import is_loopback_url
from provisioner.model.setting_keys import said, setting_names
from provisioner.model.settings import settings_schema
from provisioner.model.settings_text import parse_settings, settings_of
from tests.unit.doc_texts import example_settings
from tests.unit.model.settings_cases import FAULTS, PASSWORDS, VALUES


def faults(text: str) -> list[str]:
    """Every message without the file's name, and the whole error held to its form."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(text)
    error = caught.value
    assert error.exit_code == 3
    assert len(error.faults) == len(error.all()) >= 1
    for fault in error.all():
        assert fault.what.startswith(fault.where)
        assert fault.left_as == "nothing was changed"
        assert "provision schema" in fault.hint
        assert "\n" not in fault.what
    return [re.sub(r"^provision\.yml:?", "", fault.what) for fault in error.all()]


@pytest.mark.parametrize("case", VALUES)
def test_settings_mean_what_they_say(case: str) -> None:
    text, expected = VALUES[case]
    assert parse_settings(text).model_dump(exclude_defaults=True) == expected


@pytest.mark.parametrize("case", VALUES)
def test_what_was_kept_of_settings_gives_them_again(case: str) -> None:
    before = parse_settings(VALUES[case][0])
    again = settings_of(json.loads(json.dumps(said(before))))
    assert again == before
    assert again is not None
    assert said(again) == said(before)


def test_what_this_release_does_not_know_is_no_settings() -> None:
    assert settings_of({"server.port": 5000, "server.colour": "blue"}) is None
    assert settings_of({"artifact_store.kind": "tape"}) is None


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_with_its_line(case: str) -> None:
    text, expected = FAULTS[case]
    found = faults(text)
    if expected is not None:
        assert found == expected


@pytest.mark.parametrize("text", PASSWORDS)
def test_a_password_in_an_address_is_refused_and_not_shown(text: str) -> None:
    (message,) = faults(text)
    assert "must hold no" in message
    assert "hunter2" not in message


def test_another_file_is_named_as_the_caller_calls_it() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("zzz: 1\n", "team.yml")
    assert [fault.what for fault in caught.value.all()] == ["team.yml:1 zzz: unknown key"]
    assert caught.value.what == "team.yml has 1 fault"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
LONG = "z" * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        f"{BOMB}name: *i",
        f"{BOMB}server:\n  workers: *i\n  auth: *i\n  port: *i",
        f"name: {LONG}",
        f"{LONG}: 1",
        f"{LONG}: 1\n{LONG}: 2",
        f"server: {{allowed_hosts: [{'a ' * 100_000}]}}",
    ],
)
def test_a_value_of_any_size_is_shown_by_its_beginning(text: str) -> None:
    assert max(map(len, faults(text))) < 300


def test_a_short_value_is_shown_whole() -> None:
    assert faults(f"server: {{auth: {'a' * 70}}}") == [
        f"1 server.auth: must be one of 'none' or 'basic', not '{'a' * 70}'"
    ]


def test_faults_stand_in_the_order_of_their_lines() -> None:
    text = "zzz: 1\nserver:\n  auth: no\n  workers: 0\nname: A\nserver:\n  port: 0\nyyy: 1\n"
    lines = [int(fault.split()[0]) for fault in faults(text)]
    assert lines == sorted(lines)
    assert len(set(lines)) > 3


def test_settings_cannot_be_changed_by_whoever_reads_them() -> None:
    parsed: Any = parse_settings("")
    with pytest.raises(ValueError, match="frozen"):
        parsed.server.port = 1


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://localhost", True),
        ("http://mlflow.localhost:5000", True),
        ("http://127.0.0.9:1", True),
        ("http://[::1]:5000", True),
        ("https://example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("mlruns", False),
    ],
)
def test_only_addresses_of_this_machine_count_as_such(uri: str, expected: bool) -> None:
    assert is_loopback_url(uri) is expected


_word = st.sampled_from([name.split(".")[-1] for name in setting_names()] + ["zzz", "<<", "1", "~"])
_value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "postgres",
            "external",
            "s3",
            "basic",
            "https://h:1",
            "http://[",
            "postgresql+psycopg2://u@h/d",
            "2g",
            "::1",
        ]
    ),
)
_tree = st.recursive(
    _value,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_word, inner, max_size=4)),
    max_leaves=8,
)
_yaml_like = st.text(alphabet=" \n\t:-{}[]&*!|>%@`?,'\"#<~a1.0é", max_size=40)
_tagged = st.tuples(
    st.sampled_from(["int", "float", "bool", "timestamp", "binary", "set", "omap", "pairs", "null", "map"]),
    st.text(max_size=6),
)


def _settings_or_faults(text: str) -> None:
    found: tuple[ProvisionError, ...] = ()
    try:
        parse_settings(text)
    except SettingsError as error:
        found = error.all()
    assert all(re.match(r"provision\.yml(:\d+)? \S", fault.what) for fault in found)


@settings(max_examples=150, deadline=None)
@given(st.one_of(_yaml_like, st.text(max_size=30)))
def test_any_text_is_settings_or_faults(text: str) -> None:
    _settings_or_faults(text)


@settings(max_examples=150, deadline=None)
@given(_tree)
def test_any_yaml_is_settings_or_faults(tree: Any) -> None:
    _settings_or_faults(yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=60, deadline=None)
@given(_tagged)
def test_any_tagged_value_is_settings_or_faults(tagged: tuple[str, str]) -> None:
    _settings_or_faults(f"name: !!{tagged[0]} {yaml.safe_dump(tagged[1], default_style=chr(34))}")


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema's own object and those that it defines, by name."""
    yield "", schema
    yield from schema["$defs"].items()


def test_the_schema_is_one_that_editors_take() -> None:
    schema = settings_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "provision.yml"
    for name, definition in objects(schema):
        assert definition["type"] == "object", name
        assert definition["additionalProperties"] is False, name
        assert definition["description"], name
        for key, described in definition["properties"].items():
            assert described.get("description") or described.get("$ref"), f"{name}.{key} has no description"
    references = set(re.findall(r"'\$ref': '#/\$defs/(\w+)'", str(schema)))
    assert references == set(schema["$defs"])


def keys_of(schema: dict[str, Any], part: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, described in part["properties"].items():
        yield before + key
        if reference := described.get("$ref"):
            yield from keys_of(schema, schema["$defs"][reference.rpartition("/")[2]], f"{before}{key}.")


def test_the_schema_has_every_setting_and_no_other() -> None:
    schema = settings_schema()
    assert sorted(keys_of(schema, schema)) == sorted(setting_names())


def test_the_examples_of_the_docs_use_keys_of_the_schema() -> None:
    schema = settings_schema()
    known = set(keys_of(schema, schema))
    assert example_settings()
    for example in example_settings():
        assert set(paths(yaml.safe_load(example))) <= known


def paths(tree: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield before + key
        if isinstance(value, dict):
            yield from paths(value, f"{before}{key}.")
