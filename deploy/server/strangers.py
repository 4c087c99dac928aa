"""What strangers send and MLflow would stumble over with a 500: answered here, before it sees it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

_BODY = "You are not authenticated."
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
    return _Guard(asgi)


def _refused() -> Any:
    from flask import Response, request

    given = request.headers.get("Authorization")
    if given is None or readable(given):
        return None
    return Response(_BODY, 401, {"WWW-Authenticate": _CHALLENGE, "Content-Type": "text/plain; charset=utf-8"})


class _Guard:
    """An ASGI application around another one."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or _may_pass(scope):
            await self._application(scope, receive, send)
            return
        headers = [(b"www-authenticate", _CHALLENGE.encode()), (b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY.encode()})


def _may_pass(scope: Any) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    name = "Authorization"
    if scope["path"].startswith(_GATEWAY):
        if not headers.get(_GATEWAY_LOGIN.lower().encode()):
            return True
        name = _GATEWAY_LOGIN
    given = headers.get(name.lower().encode())
    return given is None or readable(given)
