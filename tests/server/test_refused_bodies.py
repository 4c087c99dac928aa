"""A body that cannot be read, or holds what the database cannot keep, is 400 in words, with nothing of our insides."""

from __future__ import annotations

import base64
import json

import pytest

from tests.server.deployed import Deployed

V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
JSON = {"Content-Type": "application/json"}
LARGE = 10**25


def token(offset: object) -> str:
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


BODIES: dict[str, tuple[str, bytes | object]] = {
    "an array": (f"{V2}/experiments/create", [1]),
    "a text": (f"{V2}/experiments/create", b'"x"'),
    "a number": (f"{V2}/runs/create", b"17"),
    "no JSON": (f"{V2}/experiments/search", b"\xff\xfe{"),
    "half an object": (f"{V3}/traces/search", b"{"),
    "nothing for a query": ("/graphql", b"null"),
    "a query that is none": ("/graphql", {"query": None}),
    "a query that ends too soon": ("/graphql", {"query": "{"}),
    "variables that are none": ("/graphql", {"query": "{ a }", "variables": [1]}),
    "a NUL in a name": (f"{V2}/experiments/create", {"name": "a\0b"}),
    "a name that is too long": (f"{V2}/registered-models/create", {"name": "y" * 600}),
    "a page before the first": (f"{V2}/experiments/search", {"max_results": 5, "page_token": token(-5)}),
    "a page beyond all numbers": (f"{V2}/experiments/search", {"max_results": 5, "page_token": token(str(LARGE))}),
}


@pytest.mark.parametrize("case", BODIES)
def test_it_is_refused_with_words_and_without_sql(deployed: Deployed, case: str) -> None:
    path, body = BODIES[case]
    reply = deployed.front("POST", path, body, JSON)
    assert reply.status == 400, reply
    assert reply.document["message"]
    for inside in (b"SELECT", b"INSERT", b"[SQL", b"[parameters", b"sqlalche.me", b"Traceback"):
        assert inside not in reply.body


def test_what_earlier_clients_encode_twice_is_still_read(deployed: Deployed) -> None:
    reply = deployed.front("POST", f"{V2}/experiments/search", json.dumps(json.dumps({"max_results": 1})), JSON)
    assert (reply.status, len(reply.document["experiments"])) == (200, 1)
