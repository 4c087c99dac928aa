"""A body is waited for within limits, and its rest is read before the answer: a refused upload is told why.

MLflow refuses some requests before it has read their body (no login, a foreign origin, a feature that is
off). The server would then close the connection while the proxy still sends,
which takes that for a broken server: 502 in place of 403.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable

from provision_server.messages import LATE, Message, Receive, Send, header_values

MOST = 64 << 20
SECONDS = 2.0
# Only who may upload learns that the disk is full, and an upload has any size;
# a body that was late is waited for no more.
_AT_MOST = {507: sys.maxsize, LATE.status: 0}
# Of a body something comes in each so many seconds,
# and all of it within so many and one more for each so many bytes.
PATIENCE = 30.0
BYTES_A_SECOND = 10_000


def drained(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return the ASGI application, wrapped so that the rest of a body is taken before its answer goes out.

    So much is taken as comes without a pause, within a limit.
    """

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        has_body = header_values(scope, "Content-Length") not in ([], ["0"]) or header_values(
            scope, "Transfer-Encoding"
        )
        body = _Body(receive, ended=not has_body)
        has_begun = False

        async def sending(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                await body.drain(_AT_MOST.get(message["status"], MOST))
            await send(message)

        await application(scope, body.receive, sending)
        if body.is_late and not has_begun:
            await LATE.by_asgi(send)

    return answer


class _Body:
    """A request's body on its way to the application; a client that sends too slowly has left."""

    def __init__(self, receive: Receive, *, ended: bool) -> None:
        self._receive = receive
        self._ended = ended
        self._started, self._taken = time.monotonic(), 0
        self.is_late = False
        # A streaming response waits for the client to leave while it begins:
        # one of the two may receive at a time.
        self._one = asyncio.Lock()

    async def receive(self) -> Message:
        """Return the next message."""
        async with self._one:
            return await self._take()

    async def drain(self, most: int) -> None:
        """Read and discard what the application left of it, so many bytes at most."""
        left = most
        with contextlib.suppress(asyncio.TimeoutError):
            while not self._ended and left > 0:
                async with self._one:
                    if not self._ended:
                        message = await asyncio.wait_for(self._take(), SECONDS)
                        left -= len(message.get("body", b""))

    async def _take(self) -> Message:
        if self._ended:
            return await self._receive()
        left = self._started + PATIENCE + self._taken / BYTES_A_SECOND - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), min(PATIENCE, max(left, 0)))
        except asyncio.TimeoutError:
            self.is_late = True
            message = {"type": "http.disconnect"}
        self._taken += len(message.get("body", b""))
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        return message
