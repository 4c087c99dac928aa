"""A request's body on its way to FastAPI's application: in whole pieces, and taken to its end before the answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent.parent.parent / "deploy/server"))

from drain import MOST, PIECE, drained_asgi

BLOCK = 1 << 16
Application = Callable[[Any, Any, Any], Awaitable[None]]


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

    asyncio.run(asyncio.wait_for(drained_asgi(application)({"type": "http"}, receive, send), 30))
    return sent, left


async def taking_all(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the sizes of the pieces in which the body came, -1 for a client that left."""
    sizes, more = [], True
    while more:
        message = await receive()
        sizes.append(len(message["body"]) if message["type"] == "http.request" else -1)
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "sizes": sizes})


async def taking_nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 403})


@pytest.mark.parametrize(
    ("messages", "sizes"),
    [
        ([part(0, last=True)], [0]),
        ([part(10, last=True)], [10]),
        ([part(10), part(0, last=True)], [10]),
        ([part(BLOCK)] * 40 + [part(5, last=True)], [PIECE, PIECE, 8 * BLOCK + 5]),
        ([part(3 * PIECE), part(BLOCK, last=True)], [3 * PIECE, BLOCK]),
        ([{"type": "http.request", "more_body": True}, {"type": "http.request"}], [0]),
        ([part(BLOCK), {"type": "http.disconnect"}], [-1]),
    ],
)
def test_a_body_comes_in_whole_pieces(messages: list[dict[str, Any]], sizes: list[int]) -> None:
    sent, left = run(taking_all, messages)
    assert sent[1]["sizes"] == sizes
    assert left == 0


def test_what_was_refused_is_taken_before_the_answer_within_a_limit() -> None:
    assert run(taking_nothing, [part(BLOCK)] * 9 + [part(BLOCK, last=True)])[1] == 0
    much = [part(PIECE)] * (MOST // PIECE + 30)
    assert run(taking_nothing, much)[1] == 30


def test_a_full_disk_is_told_after_the_whole_body() -> None:
    async def full(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 507})

    assert run(full, [part(PIECE)] * (MOST // PIECE + 30) + [part(1, last=True)])[1] == 0
