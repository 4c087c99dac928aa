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

from provision_server.messages import Message, Receive, Send

# The proxy closes one that it had no use for within a second (`runtimes/caddyfile.py`), and long before us.
UNUSED_SECONDS = 1.0
OURS_SECONDS = 75
# So many seconds an end waits for a request of who is connected: the proxy sends the first at once.
PATIENCE = UNUSED_SECONDS + 1.0
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
            if message["type"] == "http.response.start" and self._is_last():
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._application(scope, receive, sending)

    def _is_last(self) -> bool:
        self._answers += 1
        return self.are_ending or self._answers % ANSWERS == 0


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
        """Accept who has connected, wait until each was answered or has left, and end as uvicorn does."""
        self._kept.are_ending = True
        loop, waiting = asyncio.get_running_loop(), []
        for server, listener in zip(self.servers, sockets or [], strict=True):
            # uvicorn closes its own; this one keeps who waits there.
            last = listener.dup()
            server.close()
            listener.close()
            waiting += take_waiting(last)
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        until = loop.time() + PATIENCE
        while loop.time() < until and any(map(_is_unused, self.server_state.connections)):
            await asyncio.sleep(0.01)
        await super().shutdown([])

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


def _is_unused(connection: Any) -> bool:
    """Return whether nothing is asked on it: no request has come yet, or the last one was answered."""
    cycle = getattr(connection, "cycle", connection)
    return cycle is None or getattr(cycle, "response_complete", False)
