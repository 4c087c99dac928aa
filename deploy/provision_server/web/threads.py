"""Flask's application as an ASGI one: a few threads do its work, the event loop all the waiting for clients.

A thread is never held by who sends a body slowly, or who does not read an answer:
it gets a body whole, and leaves an answer behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import chain
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from provision_server.messages import ClientLeft, Message, Receive, Send, next_part
from provision_server.stores.statements import SEARCHES

_T = TypeVar("_T")
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# So much of an answer is made without asking whether the client reads it.
PIECE = 1 << 20
# What is larger is worked on one at a time.
LARGE = 1 << 20
_APART = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class Threaded:
    """The ASGI application in which each process has so many threads for the WSGI one."""

    def __init__(self, application: Application, threads: int) -> None:
        self._application = application
        self._threads = threads
        self._pool: Executor | None = None
        # Its objects can take ten times its size.
        self._one_large = asyncio.Lock()
        # The other threads are for calls that cost little.
        self._searches = asyncio.Semaphore(max(1, threads // 2))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            return
        if self._pool is None:
            # Not before: threads do not outlive the fork of this process.
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="flask")
        try:
            body = await _whole(receive)
        except ClientLeft:
            return
        answer = _Answer(self._application, environ(scope, body))
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def run(work: Callable[[], _T]) -> asyncio.Future[_T]:
            return loop.run_in_executor(self._pool, partial(context.run, work))

        left = _Left(receive)
        try:
            async with contextlib.AsyncExitStack() as taken:
                # The client may leave while its call waits for its turns.
                for turn in self._turns(scope, body):
                    left.listen()
                    await taken.enter_async_context(turn)
                if left.is_known():
                    return
                piece = await run(answer.begin)
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            if not answer.ended:
                left.listen()
            while not answer.ended and not left.is_known():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await run(answer.next)
            await send({"type": "http.response.body", "body": piece})
        finally:
            left.forget()
            if not answer.ended:
                await run(answer.close)

    def _turns(self, scope: Message, body: bytes) -> list[AbstractAsyncContextManager[Any]]:
        """Return what a call waits for, where those like it take turns."""
        turns: list[AbstractAsyncContextManager[Any]] = [self._one_large] if len(body) > LARGE else []
        if SEARCHES.fullmatch(scope["path"]):
            turns.append(self._searches)
        return turns


class _Left:
    """Whether the client has left, which it may while its call waits or its answer is made."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._message: asyncio.Future[Message] | None = None

    def listen(self) -> None:
        """Listen, from here on, for the client's leaving."""
        self._message = self._message or asyncio.ensure_future(self._receive())

    def is_known(self) -> bool:
        """Return whether the client was heard to leave."""
        return self._message is not None and self._message.done()

    def forget(self) -> None:
        """Stop listening for the client's leaving."""
        if self._message:
            self._message.cancel()


async def _whole(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        part, more = await next_part(receive)
        parts.append(part)
    return b"".join(parts)


def environ(scope: Message, body: bytes) -> dict[str, Any]:
    """Return what WSGI has of a request, by PEP 3333: texts are bytes read as Latin-1."""
    server = scope.get("server") or ("localhost", None)
    found = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # uvicorn's decoded path has lost bytes that are no UTF-8.
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        # With an underscore of its own it could pass for another header.
        if b"_" in name or key == "TRANSFER_ENCODING":
            continue
        key = key if key in _APART else f"HTTP_{key}"
        text = value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    if body:
        found["CONTENT_LENGTH"] = str(len(body))
    return found


class _Answer:
    """The WSGI application's answer, made by whatever thread calls."""

    def __init__(self, application: Application, environ: dict[str, Any]) -> None:
        self._application = application
        self._environ = environ
        self._body: Iterable[bytes] = ()
        # What goes before the body, by the older of WSGI's two ways.
        self._written: list[bytes] = []
        self._parts: Iterator[bytes] = iter(())
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.ended = False

    def begin(self) -> bytes:
        """Return the first piece of the body; status and headers are known then."""
        self._body = self._application(self._environ, self._start)
        self._parts = chain(self._written, self._body)
        return self.next()

    def next(self) -> bytes:
        """Return the next piece; it is the last one when `ended`."""
        parts, size = [], 0
        for part in self._parts:
            parts.append(part)
            size += len(part)
            if size >= PIECE:
                break
        else:
            self.close()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the answer, of which nothing more is wanted."""
        self.ended = True
        if close := getattr(self._body, "close", None):
            close()

    def _start(
        self, status: str, headers: list[tuple[str, str]], error: Any = None
    ) -> Callable[[bytes], None]:
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return self._written.append
