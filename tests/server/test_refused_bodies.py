"""A call that cannot be read, or names what cannot be, is 400 in words, with nothing of our insides."""

from __future__ import annotations

import base64
import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.server.deployed import Deployed, Reply, unique
from tests.support.checks import run_logged

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
    "half a character": (f"{V2}/experiments/create", b'{"name": "\\ud800"}'),
    "a body that is too deep": (f"{V2}/experiments/create", b"[" * 100_000),
    "a name that is taken": (f"{V2}/experiments/create", {"name": "Default"}),
    "a folder of the server": (
        f"{V2}/experiments/create",
        {"name": "elsewhere", "artifact_location": "a folder"},
    ),
    "a source of the server": (f"{V2}/model-versions/create", {"name": "x", "source": "a folder"}),
    "an object for an id": (f"{V2}/runs/delete", {"run_id": {"a": 1}}),
    "a number for a list": (f"{V3}/datasets/create", {"name": "x", "experiment_ids": True}),
    "a text that is no object": (f"{V3}/datasets/create", {"name": "x", "tags": "{"}),
    "a token of no page": (f"{V3}/datasets/search", {"page_token": "é"}),
    "a page beyond all numbers": (
        f"{V2}/experiments/search",
        {"max_results": 5, "page_token": token(str(LARGE))},
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_it_is_refused_with_words_and_without_sql(deployed: Deployed, case: str) -> None:
    path, body = BODIES[case]
    reply = deployed.front("POST", path, body, JSON)
    assert reply.status == 400, reply
    assert reply.document["message"]
    says_nothing_of_the_inside(reply)


def says_nothing_of_the_inside(reply: Reply) -> None:
    for inside in (
        b"SELECT",
        b"INSERT",
        b"[SQL",
        b"[parameters",
        b"sqlalche.me",
        b"psycopg2",
        b"constraint",
        b"/var/",
        b"/data/",
        b"Traceback",
    ):
        assert inside not in reply.body, reply


def test_a_query_without_its_body_is_refused_with_words(deployed: Deployed) -> None:
    for path in (
        "/graphql",
        f"{V3}/datasets/search?page_token=%C3%A9",
        "/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id=x&metric_key=m&max_results=x",
    ):
        reply = deployed.front("GET", path)
        assert (reply.status, reply.document["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), (path, reply)
        says_nothing_of_the_inside(reply)


@pytest.mark.only("embedded")
def test_a_file_in_the_place_of_a_folder_is_refused_with_words_and_leaves_nothing(deployed: Deployed) -> None:
    """On a bucket there are no folders."""
    run = run_logged(deployed.uri)
    folder = run.artifacts.rpartition("/")[0]
    for artifact in (run.artifacts, f"{run.artifacts}/file.bin/below", f"{run.artifacts}/{'x' * 300}"):
        reply = deployed.front(
            "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{artifact}", b"x", {"Content-Type": "text/plain"}
        )
        assert (reply.status, reply.document["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), reply
        says_nothing_of_the_inside(reply)
    left = [
        path for path in (deployed.program.stack / "data/artifacts" / folder).rglob("*") if path.is_file()
    ]
    assert [path.name for path in left] == ["file.bin"]


def test_a_workspace_that_no_stack_has_is_no_error_of_the_server(deployed: Deployed) -> None:
    for path in (f"{V2}/experiments/get?experiment_id=0", f"{V3}/mcp-servers"):
        reply = deployed.front("GET", path, None, {"X-MLFLOW-WORKSPACE": "x"})
        assert (reply.status, reply.document["error_code"]) == (501, "FEATURE_DISABLED"), reply


def test_what_is_deleted_conflicts_and_is_not_asked_for_again(deployed: Deployed) -> None:
    """MLflow's clients ask again for minutes after 500."""
    name = {"name": unique("deleted")}
    made = deployed.front("POST", f"{V2}/experiments/create", name).document
    assert deployed.front("POST", f"{V2}/experiments/delete", made).status == 200
    reply = deployed.front("POST", f"{V2}/experiments/update", {**made, "new_name": unique("renamed")})
    assert (reply.status, reply.document["error_code"]) == (409, "INVALID_STATE"), reply


def test_what_earlier_clients_encode_twice_is_still_read(deployed: Deployed) -> None:
    reply = deployed.front(
        "POST", f"{V2}/experiments/search", json.dumps(json.dumps({"max_results": 1})), JSON
    )
    assert (reply.status, len(reply.document["experiments"])) == (200, 1)


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_a_body_behind_the_offer_of_another_protocol_is_no_request_of_its_own(
    deployed: Deployed, offer: str
) -> None:
    create = f"{V2}/experiments/create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    hidden = json.dumps({"name": unique("hidden")}).encode()
    inside = f"POST {create}Content-Length: {len(hidden)}\r\n\r\n".encode() + hidden
    # Parsers skip empty lines before a request.
    body = b"\r\n" * 2_000 + inside
    head = f"POST {create}Connection: Upgrade\r\nUpgrade: {offer}\r\nContent-Length: {len(body)}\r\n\r\n"
    address = urlsplit(deployed.uri)
    with socket.create_connection((str(address.hostname), address.port or 80), timeout=30) as client:
        client.sendall(head.encode())
        client.sendall(body)
        assert b" 400 " in client.recv(1 << 16).splitlines()[0]
    for _ in range(20):
        reply = deployed.front("POST", f"{V2}/experiments/search", {"max_results": 1000})
        assert hidden.decode() not in str(reply)
        assert json.loads(hidden)["name"] not in {one["name"] for one in reply.document["experiments"]}
