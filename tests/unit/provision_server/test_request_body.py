"""A request's body before an application: waited for within limits, taken to its end before the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from provision_server.web import request_body
from provision_server.web.request_body import MOST, drained
from tests.support.asgi import asked, scope_of

BLOCK = 1 << 16
PIECE = 1 << 20
Application = Callable[[Any, Any, Any], Awaitable[None]]
CHUNKED = [("transfer-encoding", "chunked")]


def part(size: int, *, last: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": b"x" * size, "more_body": not last}


def run(application: Application, messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """What the application sent, and how many of the client's messages were left when its answer began."""
    waiting, sent, left = list(messages), [], -1

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            left = len(waiting)
        sent.append(message)

    asyncio.run(asyncio.wait_for(drained(application)(scope_of("POST", "/x", CHUNKED), receive, send), 30))
    return sent, left


async def taking_nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 403})


async def taking_all(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body, and with nothing when the client has left."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(size).encode()})


def test_what_was_refused_is_taken_before_the_answer_within_a_limit() -> None:
    assert run(taking_nothing, [part(BLOCK)] * 9 + [part(BLOCK, last=True)])[1] == 0
    much = [part(PIECE)] * (MOST // PIECE + 30)
    assert run(taking_nothing, much)[1] == 30


def test_a_full_disk_is_told_after_the_whole_body() -> None:
    async def full(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 507})

    assert run(full, [part(PIECE)] * (MOST // PIECE + 30) + [part(1, last=True)])[1] == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "PATIENCE", 0.2)
    monkeypatch.setattr(request_body, "BYTES_A_SECOND", 1_000_000)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("headers", [CHUNKED, [("content-length", "10")]])
@pytest.mark.parametrize("sent", [0, 1, 20 * PIECE])
def test_a_body_that_does_not_come_is_not_waited_for(headers: list[tuple[str, str]], sent: int) -> None:
    answer = asked(drained(taking_all), scope_of("POST", "/x", headers), [part(sent)])
    assert (answer.status, answer.body) == (408, b"The body did not come in time.")


@pytest.mark.usefixtures("impatient")
def test_a_slow_body_has_time_for_what_has_come() -> None:
    def slowly(size: int) -> tuple[int, bytes]:
        """The answer to twenty parts of that size, together slower than the least that a body is given."""
        left = [part(size)] * 19 + [part(size, last=True)]
        got: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.03)
            return left.pop(0)

        async def send(message: dict[str, Any]) -> None:
            got.append(message)

        asyncio.run(asyncio.wait_for(drained(taking_all)(scope_of("POST", "/x", CHUNKED), receive, send), 30))
        return got[0]["status"], got[1]["body"]

    assert slowly(100_000) == (200, b"2000000")
    assert slowly(1)[0] == 408


@pytest.mark.usefixtures("impatient")
def test_a_request_without_a_body_waits_for_its_client_as_long_as_it_likes() -> None:
    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receive(), 0.5)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def after_its_body(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await waiting(scope, receive, send)

    assert asked(drained(waiting), scope_of("GET", "/x"), ()).status == 200
    assert asked(drained(waiting), scope_of("GET", "/x", [("content-length", "0")]), ()).status == 200
    assert asked(drained(after_its_body), scope_of("POST", "/x", CHUNKED), [part(0, last=True)]).status == 200
