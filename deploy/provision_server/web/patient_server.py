"""uvicorn that keeps connections for the proxy's next requests, and ends without losing a call.

Only an answer ends a kept connection, and says so: one that is closed while nothing is asked may just be
taken for a request, which then fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from provision_server.messages import Message, Receive, Send, header_values

# The proxy closes one that it had no use for within a second (`runtimes/caddyfile.py`), and long before us.
UNUSED_SECONDS = 1.0
OURS_SECONDS = 75
# So many seconds an end waits for who has connected and sent nothing yet: the proxy sends a request at once.
FIRST_BYTES = 1.0
# One of so many answers ends its connection, so that few clients are soon spread over all workers again.
ANSWERS = 50


class KeptConnections:
    """The ASGI application with answers that end their connections now and then, and at the end always."""

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self._application = application
        self._answers = 0
        self.are_ending = False
        """Set when the worker ends: each answer is then its connection's last."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_last(scope, message):
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._application(scope, receive, sending)

    def _is_last(self, scope: Message, start: Message) -> bool:
        self._answers += 1
        return (
            self.are_ending
            or self._answers % ANSWERS == 0
            # Its parser stops at such an offer, and what comes then could be anything.
            or bool(header_values(scope, "Upgrade"))
            # A stream may go on when the end has come.
            or not header_values(start, "Content-Length")
        )


class PatientServer(uvicorn.Server):
    """uvicorn that ends without losing a call: whoever has connected is heard first.

    Its own end closes connections that wait to be accepted, and those on which nothing is asked just then.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        application: Any = config.app
        self._kept = KeptConnections(application)
        config.app = self._kept
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End each kept connection by an answer, hear who has connected, and end as uvicorn does."""
        self._kept.are_ending = True
        # Nobody else may be in this role yet: who comes meanwhile is answered.
        await self._until_none(_is_kept, UNUSED_SECONDS + 0.5)
        loop, waiting = asyncio.get_running_loop(), []
        for server, listener in zip(self.servers, sockets or [], strict=True):
            # uvicorn closes its own; this one keeps who waits there.
            last = listener.dup()
            server.close()
            listener.close()
            waiting += take_waiting(last)
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        await self._until_none(_is_new, FIRST_BYTES)
        await super().shutdown([])

    async def _until_none(self, condition: Callable[[Any], bool], seconds: float) -> None:
        """Wait until the condition is true of no connection, so many seconds at most."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until and any(map(condition, self.server_state.connections)):
            await asyncio.sleep(0.01)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def take_waiting(listener: socket.socket) -> list[socket.socket]:
    """Accept all who wait, and close the listener at once: who comes later is refused, and asks again."""
    waiting = []
    with listener, contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            waiting.append(connection)
    return waiting


def _is_new(connection: Any) -> bool:
    """Return whether no request has come on it yet."""
    return getattr(connection, "cycle", connection) is None


def _is_kept(connection: Any) -> bool:
    """Return whether it waits for a request after one that was answered."""
    return bool(getattr(getattr(connection, "cycle", None), "response_complete", False))
