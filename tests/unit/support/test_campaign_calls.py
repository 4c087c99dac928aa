"""The calls of the fuzz: what a seed gives, and that they are requests of HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pytest

from tests.campaign.fuzzing import TOLERATED, Fuzz, is_open
from tests.campaign.http_calls import Call, operations
from tests.campaign.values import Values
from tests.server.deployed import Reply

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "inner": {"$ref": "#/components/schemas/tree"}},
}
BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/tree"}}}}
FIELDS: Mapping[str, Any] = {
    "run_id": {"type": "string"},
    "max_results": {"type": "integer"},
    "state": {"type": "string", "enum": ["ON", "OFF"]},
}
QUERY = [{"name": name, "in": "query", "schema": schema} for name, schema in FIELDS.items()]
DOCUMENT: Mapping[str, Any] = {
    "paths": {
        "/runs/get": {"get": {"parameters": QUERY}},
        "/trees/{name}": {"post": {"parameters": [], "requestBody": BODY}},
    },
    "components": {"schemas": {"tree": TREE}},
}
GET, POST = operations(DOCUMENT)
VALUES = Values(DOCUMENT["components"]["schemas"])


def test_a_seed_gives_the_same_calls_again_and_another_gives_others() -> None:
    for operation in (GET, POST):
        first = operation.drawn(VALUES, "seed a, round 1", 30)
        assert operation.drawn(VALUES, "seed a, round 1", 30) == first
        assert operation.drawn(VALUES, "seed b, round 1", 30) != first
        assert operation.drawn(VALUES, "seed a, round 2", 30) != first
        assert first[4].where == f"seed a, round 1, {operation.method} {operation.path}, call 5"


def test_most_calls_go_to_the_operation_and_name_what_exists() -> None:
    calls = GET.drawn(VALUES, "x", 200)
    right = [call for call in calls if (call.method, call.path) == ("GET", "/runs/get")]
    assert 150 <= len(right) < 200
    assert (
        len([call for call in right if "run_id=OWN_RUN" in call.target or "run_id=THEIR_RUN" in call.target])
        >= 80
    )
    assert any("state=ON" in call.target for call in right)


def test_bodies_are_objects_as_the_document_has_them_and_some_are_none() -> None:
    bodies = [call.body for call in POST.drawn(VALUES, "x", 200)]
    objects = [found for body in bodies if isinstance(found := _read(body), dict)]
    assert 120 <= len(objects) < 200
    assert any(
        "inner" in (found.get("inner") or {}) for found in objects if isinstance(found.get("inner"), dict)
    )
    # A message that has itself in it ends somewhere, and no body is larger than the server's own limits.
    assert max(map(len, bodies)) < 1_500_000


def _read(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def test_a_call_is_sent_with_what_exists_in_place_of_its_words() -> None:
    call = Call("POST", "/a/OWN_RUN?b=OWN_NAME", (("X-A", "OWN_RUN"),), b'{"run_id": "OWN_RUN"}')
    sent = call.sent("127.0.0.1:1", {"OWN_RUN": "12", "OWN_NAME": "n"}, ("Authorization", "x"))
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body == b'{"run_id": "12"}'
    assert head.decode().split("\r\n") == [
        "POST /a/12?b=n HTTP/1.1",
        "Host: 127.0.0.1:1",
        "X-A: 12",
        "Authorization: x",
        "Connection: close",
        "Content-Length: 16",
    ]


@pytest.mark.parametrize("operation", [GET, POST], ids=["GET", "POST"])
def test_no_call_breaks_the_form_of_a_request(operation: Any) -> None:
    for call in operation.drawn(VALUES, "form", 200):
        head = call.sent("127.0.0.1:1", {}).partition(b"\r\n\r\n")[0]
        first, *lines = head.split(b"\r\n")
        assert first.count(b" ") == 2, first
        assert all(b": " in line and not set(line) & set(range(32)) for line in lines), head


class Judging(Fuzz):
    """A fuzz of no stack."""

    def __init__(self) -> None:
        self.findings = {}
        self.deployed = _Nowhere()  # type: ignore[assignment]


class _Nowhere:
    class program:
        stack = "/srv/stack"


SAID = {
    "an error of the server": (Reply(500, {}, b"sorry"), "answered 500"),
    "no answer": (Reply(0, {}, b"ConnectionResetError"), "answered nothing"),
    "the driver": (Reply(400, {}, b"(psycopg2.errors.X) no"), "shows psycopg2"),
    "a statement": (Reply(400, {}, b"SELECT a\nFROM b"), "shows SELECT a\nFROM"),
    "where the stack is": (Reply(200, {}, b"/srv/stack/data"), "shows the path of the stack"),
    "an inside beside tolerated words": (
        Reply(500, {}, b"Trace data not stored in tracking store: psycopg2"),
        "shows psycopg2",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_should_not_be_is_found_with_all_that_repeats_it(case: str) -> None:
    reply, what = SAID[case]
    fuzz = Judging()
    call = Call("GET", "/traces/x", where="seed a, round 1, GET /traces/{id}, call 1")
    for _ in range(2):
        fuzz._judge(call, b"GET /traces/x HTTP/1.1", reply)
    (found,) = fuzz.findings.values()
    assert (found.what, found.times) == (what, 2)
    assert "seed a, round 1, GET /traces/{id}, call 1" in str(found)
    assert "GET /traces/x HTTP/1.1" in str(found)


def test_a_refusal_and_what_is_switched_off_and_what_the_client_said_itself_are_no_findings() -> None:
    fuzz = Judging()
    call = Call("GET", "/traces/x", where="seed a, round 1, GET /traces/{id}, call 1")
    for status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED):
        fuzz._judge(call, b"", Reply(status, {}, b"in words"))
    fuzz._judge(call, b"GET /?a=/etc/../var/x", Reply(400, {}, b"no /var/x"))
    fuzz._judge(call, b"", Reply(500, {}, b"Trace data not stored in tracking store"))
    assert fuzz.findings == {}


def test_each_tolerated_answer_has_its_reason() -> None:
    assert all(len(known.reason) > 20 and known.words for known in TOLERATED)


def test_only_whole_paths_are_open_and_what_is_below_the_pages_files() -> None:
    assert is_open(Call("GET", "/health?x=1"))
    assert is_open(Call("GET", "/static-files/a.js"))
    assert not is_open(Call("GET", "/health/../x"))
    assert not is_open(Call("GET", "/static-filesx"))
