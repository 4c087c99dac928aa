"""What becomes of connections: kept, ended now and then by an answer, and heard out when the server ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from provision_server.messages import Message, Receive, Send
from provision_server.web import patient_server
from provision_server.web.patient_server import ANSWERS, OURS_SECONDS, UNUSED_SECONDS, PatientServer

Scenario = Callable[["Served"], Coroutine[Any, Any, None]]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    headers = [] if scope["path"] == "/stream" else [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


class Served:
    """A server at work, and its address."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self.server = PatientServer(
            uvicorn.Config(application, lifespan="off", log_config=None, timeout_keep_alive=OURS_SECONDS)
        )
        self.work = asyncio.ensure_future(self.server.serve([self._listener]))

    async def end(self) -> None:
        """Have the server end; return when it has begun to."""
        self.server.should_exit = True
        while not self.server._kept.are_ending:
            await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connect."""
        reader, writer = await asyncio.open_connection(*self._address)
        yield Client(reader, writer)
        writer.close()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def ask(self, path: str = "/", more: str = "") -> None:
        """Send a request, with more headers."""
        request = f"POST {path} HTTP/1.1\r\nHost: a\r\n{more}Content-Length: 1\r\n\r\nx"
        self._writer.write(request.encode())

    async def is_kept(self) -> bool:
        """Return whether the answer, which must be a good one, leaves the connection open; it tells so."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        if "chunked" in head:
            assert await self._reader.readexactly(12) == b"2\r\nok\r\n0\r\n\r\n"
        else:
            assert await self._reader.readexactly(2) == b"ok"
        if "connection: close" in head:
            await self.closed()
        return "connection: close" not in head

    async def closed(self) -> None:
        """Wait until the server has closed the connection, without another byte."""
        assert await self._reader.read() == b""


def run(scenario: Scenario) -> None:
    async def all_of_it() -> None:
        served = Served()
        while not served.server.started:
            await asyncio.sleep(0.01)
        await scenario(served)
        served.server.should_exit = True
        await served.work

    asyncio.run(asyncio.wait_for(all_of_it(), 30))


def test_the_proxy_gives_up_what_it_does_not_use_when_the_server_expects_it() -> None:
    rendered = (Path(__file__).parents[3] / "deploy/caddy/Caddyfile").read_text(encoding="utf-8")
    assert f"keepalive {UNUSED_SECONDS:g}s\n" in rendered
    assert UNUSED_SECONDS < OURS_SECONDS


def test_a_connection_is_kept_until_an_answer_says_that_it_ends() -> None:
    async def scenario(served: Served) -> None:
        kept = []
        async with served.client() as one, served.client() as other:
            for number in range(ANSWERS - 1):
                client = one if number % 2 else other
                client.ask()
                kept.append(await client.is_kept())
            one.ask()
            assert not await one.is_kept()
            other.ask()
            assert await other.is_kept()
        assert all(kept)

    run(scenario)


def test_what_is_not_plainly_at_its_end_with_the_answer_ends_its_connection() -> None:
    async def scenario(served: Served) -> None:
        async with served.client() as streamed, served.client() as offering:
            streamed.ask("/stream")
            offering.ask(more="Connection: Upgrade\r\nUpgrade: h2c\r\n")
            assert [await client.is_kept() for client in (streamed, offering)] == [False, False]

    run(scenario)


def test_an_ending_server_answers_whoever_is_connected_and_closes_with_the_answer() -> None:
    async def scenario(served: Served) -> None:
        async with served.client() as idle, served.client() as new, served.client() as busy:
            idle.ask()
            assert await idle.is_kept()
            busy.ask("/slow")
            await asyncio.sleep(0.1)
            await served.end()
            async with served.client() as late:
                for client in (idle, new, late):
                    client.ask()
                assert not any([await client.is_kept() for client in (idle, new, busy, late)])
            await served.work

    run(scenario)


def test_an_ending_server_waits_no_longer_than_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_server, "UNUSED_SECONDS", 0.2)
    monkeypatch.setattr(patient_server, "FIRST_BYTES", 0.2)

    async def scenario(served: Served) -> None:
        async with served.client() as idle, served.client() as silent:
            idle.ask()
            assert await idle.is_kept()
            await served.end()
            await served.work
            await idle.closed()
            await silent.closed()

    run(scenario)


def test_an_ending_server_whose_clients_have_left_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_server, "UNUSED_SECONDS", 3600)

    async def scenario(served: Served) -> None:
        async with served.client() as idle:
            idle.ask()
            assert await idle.is_kept()
            await served.end()
        await served.work

    run(scenario)
