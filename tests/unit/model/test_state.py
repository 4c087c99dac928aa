"""`state.json`: read back as it was written, and refused when it cannot be understood."""

from __future__ import annotations

import json

import pytest

from provisioner.errors import ProvisionError
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import build_stack
from provisioner.model.state import State, parse_state, path_fault

FULL = State(
    "mlflow-abc123",
    "docker",
    5001,
    "3.17.2",
    "postgres and minio s3://mlflow",
    ("a", "b"),
    "0.1.0",
    "fedcba9876543210",
    "/srv/mlflow",
    {"mlflow": "m1"},
    settings={"server.port": 5001, "server.allowed_hosts": ["a"]},
    services=build_stack(parse_settings("server: {auth: basic}"), "docker").services,
    recipe={".env": "0123456789abcdef"},
)


@pytest.mark.parametrize("state", [State(), FULL], ids=["empty", "full"])
def test_a_state_is_read_back_as_it_was_written(state: State) -> None:
    assert parse_state(state.text(), "state.json") == state


def test_no_file_is_a_stack_that_was_never_made() -> None:
    assert parse_state(None, "state.json") == State()
    assert State().runtime is None


def test_a_state_is_text_for_people_and_other_programs() -> None:
    text = FULL.text().decode()
    assert text.endswith("}\n")
    document = json.loads(text)
    assert document["format"] == 1
    assert document["port"] == 5001
    assert document["secrets"] == ["a", "b"]


def test_a_changed_state_leaves_the_old_one_as_it_was() -> None:
    assert FULL.with_(port=5002).port == 5002
    assert FULL.port == 5001


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b'{"format": 1, "project":', "Expecting value"),
        (b"[]", "no mapping"),
        (b"null", "no mapping"),
        (b"{}", "format"),
        (b'{"format": 2}', "format 2, this program knows 1"),
        (b'{"format": 1, "colour": "red"}', "colour"),
        (b'{"format": 1, "secrets": 5}', "secrets is no list of text"),
        (b'{"format": 1, "secrets": [5]}', "secrets is no list of text"),
        (b'{"format": 1, "secrets": "ab"}', "secrets is no list of text"),
        (b'{"format": 1, "project": 5}', "project is no text"),
        (b'{"format": 1, "project": "--help"}', "project is '--help'"),
        (b'{"format": 1, "runtime": "podman"}', "runtime is no docker or embedded"),
        (b'{"format": 1, "runtime": []}', "runtime is no docker or embedded"),
        (b'{"format": 1, "port": true}', "port is no number"),
        (b'{"format": 1, "port": 65536}', "port is 65536"),
        (b'{"format": 1, "mlflow": ["3"]}', "mlflow is no text"),
        (b'{"format": 1, "made_by": null}', "made_by is no text"),
        (b'{"format": 1, "made_by": "' + b"1" * 5000 + b'"}', "made_by is '111"),
        (b'{"format": 1, "port": ' + b"1" * 100 + b"}", "port is 111"),
        (b'{"format": 1, "identity": "a b"}', "identity is 'a b'"),
        (b'{"format": 1, "checked": {"mlflow": 5}}', "checked is no mapping to text"),
        (b'{"format": 1, "services": {}}', "services is no list of mapping"),
        (b'{"format": 1, "services": [5]}', "services is no list of mapping"),
        (b'{"format": 1, "settings": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"format": 1, "recipe_fault": ""}', "recipe_fault"),
        (b'{"format": 1, "settings": []}', "settings is no mapping"),
        (b'{"format": 1, "services": [{}]}', "missing"),
        (b"\xff", "can't decode"),
    ],
)
def test_a_state_of_another_form_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(ProvisionError) as caught:
        parse_state(content, "/stack/state.json")
    assert caught.value.what == "state.json cannot be understood"
    assert caught.value.where == "/stack/state.json"
    assert why in caught.value.why
    assert "backup" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("//etc", "absolute"),
        ("../out", "`..`"),
        ("deploy/../../out", "`..`"),
        ("..", "`..`"),
        ("./in", "`.`"),
        ("deploy//in", "empty"),
        ("deploy/", "empty"),
        ("a\0b", "nobody sees"),
        ("a\nb", "nobody sees"),
        ("\ud800", "nobody sees"),
        ("a" * 1001, "too long"),
    ],
)
def test_a_path_that_is_none_below_the_directory_is_not_taken(path: str, fault: str) -> None:
    assert fault in path_fault(path)
    content = json.dumps({"format": 1, "project": "p", "recipe": {".env": "0" * 16, path: "0" * 16}})
    state = parse_state(content.encode(), "state.json")
    assert state.recipe == {}
    assert fault in state.recipe_fault


@pytest.mark.parametrize(
    "recipe", [5, [], None, {"a": 5}, {"a": "short"}, {str(n): "0" * 16 for n in range(2001)}]
)
def test_a_recipe_of_another_form_is_not_taken_and_the_rest_is(recipe: object) -> None:
    content = json.dumps({"format": 1, "project": "p", "recipe": recipe}).encode()
    state = parse_state(content, "state.json")
    assert (state.project, state.recipe) == ("p", {})
    assert "recipe" in state.recipe_fault
    assert parse_state(state.text(), "state.json") == State("p")


def test_the_paths_that_are_rendered_are_taken() -> None:
    for path in (".env", "docker-compose.yml", "deploy/provision_server/web/page.py", "a b/ä"):
        assert path_fault(path) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": 5}, "name is no text"),
        ({"name": "../x"}, "name is '../x'"),
        ({"command": "server"}, "command is no list of text"),
        ({"volumes": [{"name": 5, "path": "/data"}]}, "volumes is no list of mapping"),
        ({"volumes": ["data"]}, "volumes is no list of mapping"),
        ({"depends_on": ["postgres"]}, "depends_on is no mapping to text"),
        ({"grace_seconds": "x"}, "grace_seconds is no number"),
        ({"one_shot": 1}, "one_shot is no true or false"),
        ({"cpus": "2"}, "cpus is no number"),
    ],
)
def test_a_service_of_another_form_is_refused_with_the_reason(changes: dict[str, object], why: str) -> None:
    document = json.loads(FULL.text())
    document["services"][0].update(changes)
    with pytest.raises(ProvisionError, match="cannot be understood") as caught:
        parse_state(json.dumps(document).encode(), "/stack/state.json")
    assert f"services: {why}" in caught.value.why


def test_a_service_of_a_later_release_may_have_words_that_are_not_known() -> None:
    document = json.loads(FULL.text())
    document["services"][0].update(image="valkey", networks=["cache"], colour="red", cpus=2)
    service = parse_state(json.dumps(document).encode(), "state.json").services[0]
    assert (service.image, service.networks, service.cpus) == ("valkey", ("cache",), 2)
