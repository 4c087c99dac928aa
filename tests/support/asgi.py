"""A client of an ASGI application that stands in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Application = Callable[[Any, Any, Any], Awaitable[None]]
Headers = Iterable[tuple[str, str]]


@dataclass
class Answer:
    """What came back; `status` is 0 when nothing did."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def take(self, message: Mapping[str, Any]) -> None:
        """The next message of the application."""
        if message["type"] == "http.response.start":
            assert not self.status, "an answer begins once"
            self.status = message["status"]
            self.headers = {
                name.decode(): value.decode("latin-1") for name, value in message.get("headers", ())
            }
        else:
            assert self.status, "an answer begins with its status"
            self.body += message.get("body", b"")


def scope_of(method: str, target: str, headers: Headers = (), **more: Any) -> dict[str, Any]:
    """A request as ASGI has it; `target` is the path as it is sent, with its query."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "root_path": "",
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode(), value.encode("utf-8", "replace")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 5000),
        **more,
    }


def pieces(body: bytes, size: int) -> list[dict[str, Any]]:
    """The messages in which a body comes, so many bytes in each."""
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    return [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, 1)
    ]


async def ask(
    application: Application, scope: dict[str, Any], messages: Iterable[Any] | None = None
) -> Answer:
    """The answer to a request whose body comes in these messages, an empty one when there are none.

    Then the client waits for the answer, whole.
    """
    waiting = pieces(b"", 1) if messages is None else list(messages)
    answer = Answer()

    async def receive() -> Any:
        # As a server's would, it lets others have their turn.
        await asyncio.sleep(0)
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: Any) -> None:
        answer.take(message)

    await application(scope, receive, send)
    return answer


def asked(application: Application, scope: dict[str, Any], messages: Iterable[Any] | None = None) -> Answer:
    """The same, in an event loop of its own."""
    return asyncio.run(asyncio.wait_for(ask(application, scope, messages), 60))
