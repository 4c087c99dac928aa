"""HTTP messages as ASGI has them: headers, and the answers that are given in MLflow's place; stdlib only."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Who asks: a scope's key that the guard sets where a login is asked for, "" for a stranger.
USER = "provision.user"
# Set by the proxy, over whatever a client claims.
ADDRESS = "X-Provision-Address"
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="mlflow"')


@dataclass(frozen=True)
class Refusal:
    """What a request is answered in MLflow's place."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "text/plain; charset=utf-8"

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """Return the headers of its own, and those of its body."""
        return [
            *self.headers,
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body.encode()))),
        ]

    async def by_asgi(self, send: Send) -> None:
        """Send the whole answer."""
        headers = [(name.lower().encode(), value.encode()) for name, value in self.all_headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body.encode()})

    def by_flask(self) -> Any:
        """Return the answer as a response of Flask."""
        from flask import Response

        return Response(self.body, self.status, self.all_headers)


class Refused(Exception):
    """The request is answered with this instead."""

    def __init__(self, answer: Refusal) -> None:
        super().__init__(answer.body)
        self.answer = answer


def mlflow_error(status: int, code: str, message: str, *headers: tuple[str, str]) -> Refusal:
    """Return the refusal with an error as MLflow's clients read it."""
    return Refusal(status, json.dumps({"error_code": code, "message": message}), headers, "application/json")


# The proxy, which would wait for the rest of the body, knows it by the header:
# a provider behind the gateway may answer 408 too.
LATE = Refusal(408, "The body did not come in time.", (("X-Provision-Late", "body"),))


def not_in(body: str = "You are not authenticated.") -> Refusal:
    """Return the refusal of a request without a valid login; a browser asks its user for one."""
    return Refusal(401, body, (_CHALLENGE,))


class ClientLeft(Exception):
    """The client left before it had sent the whole body."""


async def next_part(receive: Receive) -> tuple[bytes, bool]:
    """Return the next part of the body, and whether more comes; raise ClientLeft when the client has left."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientLeft
    return message.get("body", b""), message.get("more_body", False)


def header_values(scope: Message, name: str) -> list[str]:
    """Return the values of each header of that name, in the order of the request."""
    wanted = name.lower().encode()
    return [value.decode("latin-1") for known, value in scope["headers"] if known.lower() == wanted]


def with_headers(
    headers: Iterable[tuple[bytes, bytes]], changes: Mapping[str, str | None]
) -> list[tuple[bytes, bytes]]:
    """Return the headers with these values in place of their own; None removes a header."""
    names = {name.lower().encode() for name in changes}
    kept = [(name, value) for name, value in headers if name.lower() not in names]
    return kept + [
        (name.lower().encode(), value.encode()) for name, value in changes.items() if value is not None
    ]
