"""What one client may have under way: bodies that come, and answers that are not read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from provision_server.messages import ADDRESS, USER, Refused
from provision_server.web import body_limits
from provision_server.web.request_body import BYTES_A_SECOND, PATIENCE
from provision_server.web.shares import MOST, MOST_OF_ONE, MOST_TO_COME, NOT_COUNTED, Share, Shares, client_of
from tests.support.asgi import Answer, ask, pieces, scope_of

MB = 1_000_000
UPLOAD = "/api/2.0/mlflow-artifacts/artifacts/1/x"


def test_the_page_about_limits_has_these() -> None:
    page = (Path(__file__).parents[3] / "docs/explanation/limits.md").read_text()
    assert (
        f"each over {NOT_COUNTED // 1000} KB | {MOST_OF_ONE // MB} MB in each process of the server, "
        f"of {MOST // MB} MB for all" in page
    )
    assert f"| {MOST_TO_COME} in each process" in page
    assert (
        f"| {PATIENCE:.0f} s without a byte of it; {PATIENCE:.0f} s, "
        f"and one more for each {BYTES_A_SECOND // 1000} KB" in page
    )


def test_a_client_is_a_login_or_an_address() -> None:
    address = [(ADDRESS, "192.0.2.1")]
    assert client_of(scope_of("GET", "/", address, **{USER: "ana"})) == "ana"
    assert (
        client_of(scope_of("GET", "/", address, **{USER: ""}))
        == client_of(scope_of("GET", "/", address))
        == "192.0.2.1"
    )
    neighbours = {client_of(scope_of("GET", "/", [(ADDRESS, f"2001:db8::{number}")])) for number in range(3)}
    assert neighbours == {"2001:db8::/64"}


@pytest.fixture
def _all_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision_server.web.shares.NOT_COUNTED", 0)


def test_what_is_small_is_always_taken() -> None:
    shares = Shares(most=100, most_of_one=50)
    Share(shares, "ana").take(NOT_COUNTED + 100)
    for _ in range(1000):
        small = Share(shares, "ana")
        small.take(NOT_COUNTED // 2)
        small.take(NOT_COUNTED - NOT_COUNTED // 2)
        assert_no_room(small)
    assert shares.held("ana") == NOT_COUNTED + 100


def assert_no_room(share: Share) -> None:
    with pytest.raises(Refused) as refusal:
        share.take(1)
    assert refusal.value.answer.status == 503


@pytest.mark.usefixtures("_all_counts")
def test_one_client_has_half_and_all_have_the_whole() -> None:
    shares = Shares(most=100, most_of_one=50)
    ana, bob, eve = (Share(shares, name) for name in ("ana", "bob", "eve"))
    ana.take(30)
    ana.take(20)
    second = Share(shares, "ana")
    assert_no_room(second)
    bob.take(45)
    other = Share(shares, "bob")
    with pytest.raises(Refused):
        other.take(10)
    other.take(5)
    # A client's only request always has room: it has limits of its own.
    eve.take(200)
    assert_no_room(Share(shares, "eve"))
    ana.end()
    ana.end()
    second.take(1)
    assert_no_room(Share(shares, "ana"))
    eve.end()
    Share(shares, "ana").take(1)


@pytest.mark.usefixtures("_all_counts")
def test_nothing_is_kept_of_who_has_nothing() -> None:
    async def all_of_it() -> None:
        shares = Shares()
        for number in range(1000):
            share = Share(shares, str(number))
            with shares.to_come(str(number)):
                share.take(1)
            share.end()
        assert (shares._bytes, shares._to_come) == ({}, {})

    asyncio.run(all_of_it())


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with as many bytes as the query says, once it has the body."""
    more = True
    while more:
        more = (await receive()).get("more_body")
    size = int(scope["query_string"] or 0)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(size).encode())]}
    )
    await send({"type": "http.response.body", "body": b"x" * size})


def start(application: Any, target: str, user: str, messages: list[Any]) -> asyncio.Task[Answer]:
    scope = scope_of(
        "PUT" if target == UPLOAD else "POST", target, [("transfer-encoding", "chunked")], **{USER: user}
    )
    return asyncio.ensure_future(ask(application, scope, messages))


def assert_busy(answer: Answer) -> None:
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert json.loads(answer.body)["error_code"] == "TEMPORARILY_UNAVAILABLE"


async def _end(tasks: list[asyncio.Task[Answer]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("size", [15 * MB, MB])
def test_bodies_that_stall_leave_room_for_others(size: int) -> None:
    async def all_of_it() -> None:
        application = body_limits.bounded(_echo)
        # Ten fill half of the room and more; none of them comes to its end.
        stalled = [
            start(application, "/x", "ana", pieces(b"x" * size, 50_000)[:-1]) for _ in range(150 * MB // size)
        ]
        while not any(task.done() for task in stalled):
            await asyncio.sleep(0.01)
        assert_busy(next(task for task in stalled if task.done()).result())
        assert (await start(application, "/x", "bob", pieces(b"x" * 19 * MB, 50_000))).status == 200
        await _end(stalled)
        assert (await start(application, "/x", "ana", pieces(b"x" * 19 * MB, 50_000))).status == 200

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_answers_that_are_not_read_leave_room_for_others() -> None:
    async def all_of_it() -> None:
        application = body_limits.bounded(_echo)
        reading = asyncio.Event()

        async def not_read(scope: Any, receive: Any, send: Any) -> None:
            async def slow(message: Any) -> None:
                await send(message)
                if message["type"] == "http.response.body" and answers_well(message):
                    await reading.wait()

            await application(scope, receive, slow)

        def answers_well(message: Any) -> bool:
            return len(message["body"]) > MB

        waiting = [start(not_read, f"/x?{8 * MB}", "ana", pieces(b"", 1)) for _ in range(10)]
        while sum(task.done() for task in waiting) < 4:
            await asyncio.sleep(0.01)
        for task in waiting:
            if task.done():
                assert_busy(task.result())
        assert (await start(application, f"/x?{8 * MB}", "bob", pieces(b"", 1))).body == b"x" * 8 * MB
        reading.set()
        assert [(await task).status for task in waiting].count(200) == 6
        # One that is larger than a share comes where nothing else is under way.
        assert len((await start(application, f"/x?{80 * MB}", "ana", pieces(b"", 1))).body) == 80 * MB

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_uploads_that_stall_leave_room_for_others() -> None:
    async def all_of_it() -> None:
        application = body_limits.bounded(_echo)
        stalled = [start(application, UPLOAD, "ana", pieces(b"xx", 1)[:-1]) for _ in range(60)]
        while not any(task.done() for task in stalled):
            await asyncio.sleep(0.01)
        refused = [task.result() for task in stalled if task.done()]
        assert 60 - len(refused) == 50 * MB // body_limits.PIECE
        assert_busy(refused[0])
        assert (await start(application, UPLOAD, "bob", pieces(b"xx", 1))).status == 200
        await _end(stalled)

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_of_many_requests_that_stall_the_one_that_did_for_longest_is_refused() -> None:
    async def all_of_it() -> None:
        application = body_limits.bounded(_echo)
        stalled = [start(application, "/x", "ana", pieces(b"xx", 1)[:-1]) for _ in range(MOST_TO_COME + 10)]
        while sum(task.done() for task in stalled) < 10:
            await asyncio.sleep(0.01)
        assert [task.done() for task in stalled] == [True] * 10 + [False] * MOST_TO_COME
        assert stalled[0].result().status == 408
        # Who sends at once is served.
        for user in ("ana", "bob"):
            assert (await start(application, "/x", user, pieces(b"xx", 1))).status == 200
        assert sum(task.done() for task in stalled) == 11
        await _end(stalled)

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_a_request_that_is_cancelled_is_not_answered() -> None:
    async def all_of_it() -> None:
        waiting = start(body_limits.bounded(_echo), "/x", "ana", pieces(b"xx", 1)[:-1])
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(asyncio.wait_for(all_of_it(), 60))


def test_a_stream_without_a_length_begins_before_its_body() -> None:
    seen: list[str] = []

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append("begun")
        await send({"type": "http.response.body", "body": b"x", "more_body": False})

    async def send(message: Any) -> None:
        seen.append(message["type"])

    asyncio.run(body_limits.bounded(streaming)(scope_of("PUT", UPLOAD), None, send))  # type: ignore[arg-type]
    assert seen == ["http.response.start", "begun", "http.response.body"]


def test_an_upload_comes_in_whole_pieces() -> None:
    sizes: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        message: dict[str, Any] = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            sizes.append(len(message["body"]) if message["type"] == "http.request" else -1)

    def run(messages: list[Any]) -> list[int]:
        sizes.clear()
        asyncio.run(ask(body_limits.bounded(application), scope_of("PUT", UPLOAD), messages))
        return list(sizes)

    piece = body_limits.PIECE
    assert run(pieces(b"x" * (2 * piece + 5), 1 << 16)) == [piece, piece, 5]
    assert run(pieces(b"x" * 10, 3)) == [10]
    assert run([{"type": "http.request", "more_body": True}, {"type": "http.request"}]) == [0]
    assert run([*pieces(b"x" * 10, 5)[:1], {"type": "http.disconnect"}]) == [-1]
