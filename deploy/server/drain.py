"""The rest of a request's body is read before its answer goes out, so that a refused upload is told why.

MLflow refuses some requests before it has read their body (no login, a foreign origin, a feature that is off). The server
would then close the connection while the front door still sends, which takes that for a broken server: 502 in place of 403.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from messages import Message, Receive, Send

BLOCK = 1 << 16
# A stranger may not keep a thread waiting: of a body without a login no more is taken than the front door has whole before it calls.
BUFFERED = 256_000
MOST = 64 << 20
PIECE = 1 << 20
SECONDS = 2.0
NO_SPACE = 507


def drained_wsgi(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The same WSGI application."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        refused = False
        source = environ["wsgi.input"]

        def starting(status: str, *rest: Any) -> Any:
            nonlocal refused
            refused = status.startswith(("401", "429", "503"))
            return start_response(status, *rest)

        # gunicorn sends the headers with the first part of the body, so nothing has gone out yet.
        body = application(environ, starting)
        length = environ.get("CONTENT_LENGTH")
        if not refused or (length and int(length) <= BUFFERED):
            left = MOST
            while left > 0 and (part := source.read(BLOCK)):
                left -= len(part)
        return body

    return answer


def drained_asgi(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The same ASGI application; of what it left, so much is taken as comes without a pause, within a limit."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        body = _Body(receive)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only who may upload learns that the disk is full, and an upload has any size.
                await body.drain(sys.maxsize if message["status"] == NO_SPACE else MOST)
            await send(message)

        await application(scope, body.receive, sending)

    return answer


class _Body:
    """A request's body on its way to the application."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False
        # A streaming response waits for the client to leave while it begins: one of the two may receive at a time.
        self._one = asyncio.Lock()

    async def receive(self) -> Message:
        """The next message; one of the body has a whole piece, as the application hands each to a thread of its own."""
        async with self._one:
            message = await self._take()
            if self._ended:
                return message
            parts = [message.get("body", b"")]
            size = len(parts[0])
            while not self._ended and size < PIECE:
                message = await self._take()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            # The client's leaving ends the body too, and is what the application has to see.
            return message if message["type"] != "http.request" else {**message, "body": b"".join(parts)}

    async def drain(self, most: int) -> None:
        """What the application left of it is taken and forgotten, so many bytes at most."""
        left = most
        with contextlib.suppress(asyncio.TimeoutError):
            while not self._ended and left > 0:
                async with self._one:
                    if not self._ended:
                        message = await asyncio.wait_for(self._take(), SECONDS)
                        left -= len(message.get("body", b""))

    async def _take(self) -> Message:
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        return message
