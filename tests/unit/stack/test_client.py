"""Who answers is asked first: a login goes to the stack that it is for, and to no other server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provisioner.mlflow_api import IDENTITY_PATH, OtherServer, identity_of
from provisioner.model.secret import Secret
from provisioner.runtimes.caddyfile import identity_files
from provisioner.stack.client import ProxyAddress, stack_client
from provisioner.system.http import Rest, RestError

OURS = "0123456789abcdef"
PASSWORD = Secret("a password of the admin")
Said = list[tuple[str, str]]
"""The path and the login of each request."""


@contextmanager
def server(answers: dict[str, tuple[int, bytes]]) -> Iterator[tuple[str, Said]]:
    """A server on HOST:PORT that answers so, and 200 to all else; with what it was asked."""
    said: Said = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.append((self.path, self.headers.get("Authorization", "")))
            status, content = answers.get(self.path, (200, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{made.server_port}", said
    finally:
        made.shutdown()
        made.server_close()


def identity(value: str) -> dict[str, tuple[int, bytes]]:
    (content,) = identity_files(value).values()
    return {IDENTITY_PATH: (200, content)}


def ask(address: str, expected: str = OURS) -> Callable[[], object]:
    stack = stack_client(ProxyAddress(address, identity=expected), f"http://{address}", PASSWORD)
    return lambda: stack.call("GET", "/api/users")


def test_the_stack_itself_gets_the_login_after_it_was_asked_once() -> None:
    with server(identity(OURS)) as (address, said):
        call = ask(address)
        assert call() == {}
        call()
    assert [(path, bool(login)) for path, login in said] == [
        (IDENTITY_PATH, False),
        ("/api/users", True),
        ("/api/users", True),
    ]


@pytest.mark.parametrize(
    ("answers", "permanent"),
    [
        pytest.param(identity("fedcba9876543210"), True, id="another stack"),
        pytest.param({IDENTITY_PATH: (404, b"not found")}, False, id="an MLflow server"),
        pytest.param({IDENTITY_PATH: (401, b"who are you")}, False, id="one with a login"),
        pytest.param({IDENTITY_PATH: (200, b"<html>")}, False, id="a page"),
        pytest.param({IDENTITY_PATH: (200, b"[]")}, False, id="other JSON"),
        pytest.param({IDENTITY_PATH: (200, b'{"stack": ""}')}, False, id="a stack without one"),
        pytest.param({IDENTITY_PATH: (302, b"")}, False, id="a redirect"),
    ],
)
def test_another_server_is_named_and_gets_no_login(
    answers: dict[str, tuple[int, bytes]], permanent: bool
) -> None:
    with server(answers) as (address, said):
        call = ask(address)
        for _ in range(2):
            with pytest.raises(OtherServer, match=address) as caught:
                call()
            assert (caught.value.status, caught.value.permanent) == (0, permanent)
            assert "server.port" in caught.value.hint
    assert said == [(IDENTITY_PATH, "")] * 2


def test_one_that_becomes_the_stack_is_asked_again() -> None:
    answers = {IDENTITY_PATH: (502, b"")}
    with server(answers) as (address, _):
        call = ask(address)
        with pytest.raises(OtherServer):
            call()
        answers.update(identity(OURS))
        assert call() == {}


def test_a_stack_that_has_no_identity_yet_is_believed() -> None:
    with server({}) as (address, said):
        assert ask(address, "")() == {}
    assert [path for path, _ in said] == ["/api/users"]


def test_who_answers_to_another_name_and_who_does_not_answer_is_no_other_server() -> None:
    with (
        server({IDENTITY_PATH: (421, b"This server has another name.")}) as (address, _),
        pytest.raises(RestError) as caught,
    ):
        ask(address)()
    assert (type(caught.value), caught.value.status) == (RestError, 421)
    with pytest.raises(RestError, match="does not answer"):
        identity_of(Rest(f"http://{address}"))
