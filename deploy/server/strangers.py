"""Requests whose login MLflow shall not see: none, wrong, or one too many; answered here, before both of its applications."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from logins import Judge, Verdict

_BODY = "You are not authenticated."
_TOO_MANY = "Too many failed logins; try again later."
_CHALLENGE = 'Basic realm="mlflow"'
# Set by the front door, over whatever a client claims.
ADDRESS = "X-Provision-Address"
# There a client's own key for a provider may stand in Authorization, and its login in the other header.
_GATEWAY, _GATEWAY_LOGIN = "/gateway/", "X-MLflow-Authorization"
_GATEWAY_TOKEN = "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"  # noqa: S105

Login = tuple[str, str]
Header = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Refusal:
    """What a request is answered in MLflow's place."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...]

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """Those of its own, and those of its body."""
        return [*self.headers, ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(self.body)))]


_NOT_IN = Refusal(401, _BODY, (("WWW-Authenticate", _CHALLENGE),))
_AWAY = Refusal(503, "The login could not be checked; try again.", (("Retry-After", "1"),))
_REASONS = {401: "401 Unauthorized", 429: "429 Too Many Requests", 503: "503 Service Unavailable"}


def login_of(authorization: str) -> tuple[str, str] | None:
    """User and password as MLflow reads them: Basic, in base64, text without a NUL; None when the header is no login."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login = base64.b64decode(token.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    if ":" not in login or "\0" in login:
        return None
    user, _, password = login.partition(":")
    return user, password


def refuse_strangers(flask: Any, asgi: Any, judge: Judge) -> Any:
    """The FastAPI application that answers no wrong login; the Flask application does so from here on."""
    flask.wsgi_app = _guarded(flask.wsgi_app, judge)
    flask.after_request(lambda response: _told(response, judge))
    return _Guard(asgi, judge)


def _told(response: Any, judge: Judge) -> Any:
    from flask import request

    judge.changes.tell(request.path, response.status_code)
    return response


def _login(path: str, header: Header) -> Login | Refusal | None:
    """The login that is to be judged; the refusal of what is none; None for MLflow to answer the request as it is."""
    from mlflow.server.auth import is_unprotected_route

    name = _GATEWAY_LOGIN if path.startswith(_GATEWAY) and header(_GATEWAY_LOGIN) else "Authorization"
    text = header(name)
    if text is None:
        return None
    login = login_of(text)
    if login is None:
        # A provider's key may stand there.
        return None if path.startswith(_GATEWAY) and name != _GATEWAY_LOGIN else _NOT_IN
    # MLflow's own jobs have a token, which it compares itself.
    is_job = path.startswith(_GATEWAY) and login[1] == os.environ.get(_GATEWAY_TOKEN)
    return None if is_job or is_unprotected_route(path) else login


def _judged(login: Login, header: Header, judge: Judge) -> Refusal | None:
    try:
        verdict, wait = judge.judge(header(ADDRESS) or "", *login)
    except Exception as error:
        # The database is away, as a rule. Neither right nor wrong: MLflow's clients come again after this answer.
        print(f"server: a login could not be judged: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return _AWAY
    if verdict is Verdict.right:
        return None
    return _NOT_IN if verdict is Verdict.wrong else Refusal(429, _TOO_MANY, (("Retry-After", str(math.ceil(wait))),))


def _guarded(application: Callable[..., Iterable[bytes]], judge: Judge) -> Callable[..., Iterable[bytes]]:
    """The WSGI application that is asked only for what `_refusal` leaves to it: before Flask begins, which costs more than a refusal."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def header(name: str) -> str | None:
            return environ.get(f"HTTP_{name.upper().replace('-', '_')}")

        found = _login(environ.get("PATH_INFO", ""), header)
        refused = _judged(found, header, judge) if isinstance(found, tuple) else found
        if refused is None:
            return application(environ, start_response)
        start_response(_REASONS[refused.status], refused.all_headers)
        return [refused.body.encode()]

    return answer


class _Guard:
    """An ASGI application around another one."""

    def __init__(self, application: Any, judge: Judge) -> None:
        self._application = application
        self._judge = judge

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        refused = await self._refusal(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._application(scope, receive, send)
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in refused.all_headers]
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": refused.body.encode()})

    async def _refusal(self, scope: Any) -> Refusal | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}

        def header(name: str) -> str | None:
            return headers.get(name.lower().encode())

        found = _login(scope["path"], header)
        if not isinstance(found, tuple):
            return found
        if self._judge.remembers(*found):
            return None
        # A password that has to be hashed would stop the event loop.
        return await asyncio.to_thread(_judged, found, header, self._judge)
