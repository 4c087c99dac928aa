"""What strangers send and MLflow would stumble over with a 500: answered here, before it sees it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from typing import Any

_BODY = "You are not authenticated."
_MOST_DRAINED = 64 << 20
_DRAIN_SECONDS = 2.0
_BUFFERED = 256_000
_CHALLENGE = 'Basic realm="mlflow"'
# There a client's own key for a provider may stand in Authorization, and its login in the other header.
_GATEWAY, _GATEWAY_LOGIN = "/gateway/", "X-MLflow-Authorization"


def readable(authorization: str) -> bool:
    """Whether the header has a login as MLflow reads it: Basic, in base64, text without a NUL."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        login = base64.b64decode(token.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return False
    return ":" in login and "\0" not in login


def refuse_unreadable(flask: Any, asgi: Any) -> Any:
    """The FastAPI application that answers an unreadable login with 401; the Flask application does so from here on."""
    flask.before_request_funcs.setdefault(None, []).insert(0, _refused)
    flask.after_request(_drained)
    return _Guard(asgi)


def _refused() -> Any:
    from flask import Response, request

    given = request.headers.get("Authorization")
    if given is None or readable(given):
        return None
    return Response(_BODY, 401, {"WWW-Authenticate": _CHALLENGE, "Content-Type": "text/plain; charset=utf-8"})


def _drained(response: Any) -> Any:
    """The answer to a stranger, once the body is taken: a connection that is closed on unread bytes takes the answer with it."""
    from flask import request

    # What the front door has whole before it calls; more could keep a thread waiting for a stranger.
    if response.status_code == 401 and (request.content_length or 0) <= _BUFFERED:
        request.get_data(cache=False)
    return response


class _Guard:
    """An ASGI application around another one."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        body = _Body(scope, receive)

        async def finish(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                await body.drain()
            await send(message)

        if _may_pass(scope):
            await self._application(scope, body.receive, finish)
            return
        headers = [(b"www-authenticate", _CHALLENGE.encode()), (b"content-type", b"text/plain; charset=utf-8")]
        await finish({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY.encode()})


class _Body:
    """A request's body that is taken to its end: a connection that is closed on unread bytes takes the answer with it."""

    def __init__(self, scope: Any, receive: Any) -> None:
        self._receive = receive
        names = {name for name, _ in scope["headers"]}
        self._ended = not names & {b"content-length", b"transfer-encoding"}

    async def receive(self) -> Any:
        """The next message."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            self._ended = True
        return message

    async def drain(self) -> None:
        """What the application left of it, within limits, is taken and forgotten."""
        left = _MOST_DRAINED
        with contextlib.suppress(asyncio.TimeoutError):
            while not self._ended and left > 0:
                message = await asyncio.wait_for(self.receive(), _DRAIN_SECONDS)
                left -= len(message.get("body", b""))


def _may_pass(scope: Any) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    name = "Authorization"
    if scope["path"].startswith(_GATEWAY):
        if not headers.get(_GATEWAY_LOGIN.lower().encode()):
            return True
        name = _GATEWAY_LOGIN
    given = headers.get(name.lower().encode())
    return given is None or readable(given)
