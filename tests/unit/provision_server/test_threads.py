"""Flask's application as ASGI: what it is handed, what it answers, and what its threads do not wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request, send_file, stream_with_context
from werkzeug.test import EnvironBuilder

from provision_server.web.threads import LARGE, PIECE, Threaded, environ
from tests.support.asgi import Answer, ask, asked, pieces, scope_of

MB = 1_000_000


@pytest.fixture
def flask(tmp_path: Path) -> Flask:
    app = Flask("test")
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 20_000)

    @app.route("/echo/<path:rest>", methods=["GET", "POST"])
    def echo(rest: str) -> Any:
        headers = {name: value for name, value in request.headers.items() if name.startswith("X-")}
        return {
            "path": rest,
            "query": request.args,
            "headers": headers,
            "length": len(request.get_data()),
            "type": request.content_type,
        }

    @app.route("/file")
    def file() -> Any:
        return send_file(large, conditional=True)

    @app.route("/stream")
    def stream() -> Any:
        def parts() -> Iterator[bytes]:
            for _ in range(5):
                yield request.args["a"].encode() * PIECE

        return Response(stream_with_context(parts()))

    @app.route("/broken")
    def broken() -> Any:
        raise ValueError

    return app


def get(
    application: Any, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes = b""
) -> Answer:
    return asked(Threaded(application, 2), scope_of(method, target, headers), pieces(body, 1000))


def test_flask_is_handed_the_request_as_it_was_sent(flask: Flask) -> None:
    answer = get(
        flask,
        "/echo/a%20b/%C3%BC%2F%FF?x=1&y=%C3%BC",
        ("X-One", "ü"),
        ("X-One", "2"),
        ("content-type", "text/x"),
    )
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = flask.json.loads(answer.body)
    assert found["path"] == "a b/ü/\ufffd"
    assert found["query"] == {"x": "1", "y": "ü"}
    assert found["type"] == "text/x"
    assert found["headers"] == {"X-One": "Ã¼,2"}
    body = b"x" * 4500
    for name, value in (("content-length", "4500"), ("transfer-encoding", "chunked")):
        answer = get(flask, "/echo/x", (name, value), method="POST", body=body)
        assert flask.json.loads(answer.body)["length"] == 4500


def test_the_environment_is_the_one_that_werkzeug_would_make() -> None:
    headers = [
        ("host", "localhost:5000"),
        ("accept", "a"),
        ("accept", "b"),
        ("content-type", "text/x"),
        ("content-length", "3"),
    ]
    made = environ(scope_of("POST", "/%C3%BC/a+b?x=%2F", headers), b"abc")
    builder = EnvironBuilder(
        path="/ü/a+b", query_string="x=%2F", method="POST", content_type="text/x", data=b"abc"
    )
    wanted = builder.get_environ()
    for key in (
        "PATH_INFO",
        "QUERY_STRING",
        "REQUEST_METHOD",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
        "SCRIPT_NAME",
        "wsgi.url_scheme",
    ):
        assert made[key] == wanted[key], key
    assert (made["HTTP_ACCEPT"], made["HTTP_HOST"]) == ("a,b", "localhost:5000")


def test_a_header_cannot_pass_for_another_one(flask: Flask) -> None:
    answer = get(flask, "/echo/x", ("X_One", "foreign"), ("X-One", "own"))
    assert flask.json.loads(answer.body)["headers"] == {"X-One": "own"}


def test_large_answers_come_whole(flask: Flask) -> None:
    whole = bytes(range(256)) * 20_000
    assert get(flask, "/file").body == whole
    part = get(flask, "/file", ("range", "bytes=10-1500009"))
    assert (part.status, part.body) == (206, whole[10:1_500_010])
    assert get(flask, "/stream?a=z").body == b"z" * 5 * PIECE
    head = get(flask, "/file", method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(whole)))


def test_a_fault_of_the_application_is_an_answer(flask: Flask) -> None:
    assert get(flask, "/broken").status == 500
    assert get(flask, "/none").status == 404


class Body:
    """A body that is told when nobody wants more of it."""

    def __init__(self, parts: int) -> None:
        self.left, self.closed = parts, 0

    def __iter__(self) -> Iterator[bytes]:
        while self.left:
            self.left -= 1
            yield b"x" * PIECE

    def close(self) -> None:
        self.closed += 1


def application_of(body: Body) -> Callable[..., Body]:
    def application(_: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        return body

    return application


def test_an_answer_is_closed_once_whatever_becomes_of_its_client() -> None:
    whole = Body(3)
    assert len(get(application_of(whole), "/").body) == 3 * PIECE
    assert (whole.left, whole.closed) == (0, 1)
    left = Body(1000)
    messages = [*pieces(b"", 1), {"type": "http.disconnect"}]
    asked(Threaded(application_of(left), 1), scope_of("GET", "/"), messages)
    assert left.left > 900
    assert left.closed == 1

    async def failing(message: Any) -> None:
        raise OSError("the client has left")

    async def receive() -> Any:
        return pieces(b"", 1)[0]

    broken = Body(10)
    with pytest.raises(OSError, match="the client has left"):
        asyncio.run(Threaded(application_of(broken), 1)(scope_of("GET", "/"), receive, failing))
    assert broken.closed == 1


def test_what_is_written_goes_before_the_body() -> None:
    def application(_: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"b")
        return [b"c"]

    assert get(application, "/").body == b"abc"


def test_no_thread_waits_for_who_does_not_read() -> None:
    def application(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        return Body(int(environ["QUERY_STRING"]))

    async def all_of_it() -> None:
        threaded, never = Threaded(application, 1), asyncio.Event()
        stalled = 0

        async def not_read(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                nonlocal stalled
                if message["type"] == "http.response.body":
                    stalled += 1
                    await never.wait()

            await threaded(scope, receive, sending)

        waiting = [asyncio.ensure_future(ask(not_read, scope_of("GET", f"/?{size}"))) for size in (1, 3) * 10]
        while stalled < len(waiting):
            await asyncio.sleep(0.01)
        assert len((await ask(threaded, scope_of("GET", "/?2"))).body) == 2 * PIECE
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_large_bodies_are_worked_on_one_at_a_time() -> None:
    at_work, most, turn = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        nonlocal at_work, most
        with turn:
            at_work += 1
            most = max(most, at_work)
        if int(environ["CONTENT_LENGTH"]) <= LARGE:
            # Two small ones are at work together, or this never ends.
            both.wait(30)
        with turn:
            at_work -= 1
        start_response("200 OK", [])
        return [b"done"]

    async def together(size: int) -> int:
        nonlocal most
        most = 0
        threaded = Threaded(application, 4)
        tasks = [ask(threaded, scope_of("POST", "/"), pieces(b"x" * size, MB)) for _ in range(4)]
        assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 4
        return most

    assert asyncio.run(together(LARGE)) > 1
    assert asyncio.run(together(LARGE + 1)) == 1


def test_searches_leave_threads_to_others_and_one_whose_client_has_left_is_not_run() -> None:
    asked: list[str] = []
    ending = threading.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        asked.append(environ["QUERY_STRING"])
        if "slow" in environ["QUERY_STRING"]:
            ending.wait(30)
        start_response("200 OK", [])
        return [b"done"]

    async def all_of_it() -> None:
        threaded = Threaded(application, 4)
        leaves = [*pieces(b"", 1), {"type": "http.disconnect"}]
        slow = [
            asyncio.ensure_future(ask(threaded, scope_of("GET", f"/runs/search?slow{number}")))
            for number in range(3)
        ]
        gone = asyncio.ensure_future(ask(threaded, scope_of("GET", "/runs/search?gone"), leaves))
        while len(asked) < 2:
            await asyncio.sleep(0.01)
        assert (await ask(threaded, scope_of("GET", "/runs/get?quick"))).status == 200
        assert sorted(asked) == ["quick", "slow0", "slow1"]
        ending.set()
        assert [(await task).status for task in slow] == [200] * 3
        assert (await gone).status == 0
        assert "gone" not in asked

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_a_websocket_is_refused() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(
        Threaded(application_of(Body(1)), 1)({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    )
    assert sent == [{"type": "websocket.close"}]
