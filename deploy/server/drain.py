"""The rest of a request's body is read before its answer goes out, so that a refused upload is told why.

MLflow refuses some requests before it has read their body (no login, a foreign origin, a feature that is off). The server
would then close the connection while the front door still sends, which takes that for a broken server: 502 in place of 403.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

BLOCK = 1 << 16

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def drained_wsgi(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """The same WSGI application."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # gunicorn sends the headers with the first part of the body, so nothing has gone out yet.
        body = application(environ, start_response)
        while environ["wsgi.input"].read(BLOCK):
            pass
        return body

    return answer


def drained_asgi(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The same ASGI application."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        left = True
        # A streaming response waits for the client to leave while it begins: one of the two may receive at a time.
        one = asyncio.Lock()

        async def take() -> Message:
            nonlocal left
            message = await receive()
            left = message["type"] == "http.request" and bool(message.get("more_body"))
            return message

        async def receiving() -> Message:
            async with one:
                return await take()

        async def sending(message: Message) -> None:
            while left and message["type"] == "http.response.start":
                async with one:
                    if left:
                        await take()
            await send(message)

        await application(scope, receiving, sending)

    return answer
