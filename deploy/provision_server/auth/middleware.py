"""Around both applications: nobody with a wrong login gets in, and the proxy learns who was let in."""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from typing import Any
from urllib.parse import quote

from provision_server.auth.authorization import GATEWAY, Login, Malformed, Values, handed_on, login_of
from provision_server.auth.login_guard import LoginGuard, Verdict
from provision_server.messages import ADDRESS, USER, Refusal, header_values, not_in, with_headers

# The proxy takes it for its access log, and keeps it to itself.
HEADER = "X-Provision-User"
_TOO_MANY = "Too many failed logins; try again later."
_GATEWAY_TOKEN = "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"  # noqa: S105
_MALFORMED = not_in("The login is not one Authorization header of the scheme Basic.")
_AWAY = Refusal(503, "The login could not be checked; try again.", (("Retry-After", "1"),))


def refuse_strangers(application: Any, guard: LoginGuard, *, gateway: bool) -> Any:
    """Return the ASGI application, guarded so that nothing is asked of it with a wrong login.

    `gateway` is for the one that has the gateway's routes.
    """
    return _Guard(application, guard, gateway=gateway)


def heed_changes(flask: Any, guard: LoginGuard) -> None:
    """Have the Flask application tell the judge of each user that it changes."""
    flask.after_request(lambda response: _told(response, guard))


def _told(response: Any, guard: LoginGuard) -> Any:
    from flask import request

    guard.changes.publish(request.path, response.status_code)
    return response


def _login(path: str, values: Values, *, gateway: bool) -> Login | None:
    """Return the login, None where there is none, or the route asks for none.

    Raise Malformed for what is no login.
    """
    from mlflow.server.auth import is_unprotected_route

    login = login_of(path, values, gateway=gateway)
    return None if is_unprotected_route(path) else login


async def _judged(login: Login, values: Values, guard: LoginGuard) -> Refusal | None:
    try:
        verdict, wait = await guard.guard("".join(values(ADDRESS)), login.user, login.password)
    except Exception as error:
        # The database is away, as a rule. Neither right nor wrong:
        # MLflow's clients come again after this answer.
        print(
            f"server: a login could not be judged: {type(error).__name__}: {error}",
            file=sys.stderr,
            flush=True,
        )
        return _AWAY
    if verdict is Verdict.right:
        return None
    return (
        not_in()
        if verdict is Verdict.wrong
        else Refusal(429, _TOO_MANY, (("Retry-After", str(math.ceil(wait))),))
    )


class _Guard:
    """An ASGI application around another one."""

    def __init__(self, application: Any, guard: LoginGuard, *, gateway: bool) -> None:
        self._application = application
        self._judge = guard
        self._gateway = gateway

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        values = partial(header_values, scope)
        try:
            login = _login(scope["path"], values, gateway=self._gateway)
            refused = await self._judged(scope["path"], login, values) if login else None
        except Malformed:
            login, refused = None, _MALFORMED
        if refused is None:
            known = {
                USER: login.user if login else "",
                "headers": with_headers(scope["headers"], handed_on(login)),
            }
            await self._application({**scope, **known}, receive, send)
            return
        await refused.by_asgi(send)

    async def _judged(self, path: str, login: Login, values: Values) -> Refusal | None:
        # MLflow's own jobs have a token, which it compares itself.
        is_job = path.startswith(GATEWAY) and login.password == os.environ.get(_GATEWAY_TOKEN)
        if is_job or self._judge.remembers(login.user, login.password):
            return None
        return await _judged(login, values, self._judge)


def tell_proxy(flask: Any, asgi: Any) -> Any:
    """Return a FastAPI application that names the user in its answers; have the Flask one do so too."""
    flask.after_request(_named)
    return _Naming(asgi)


def _named(response: Any) -> Any:
    from flask import g

    # MLflow keeps it here once the login was right.
    if user := getattr(g, "mlflow_authenticated_user", None):
        response.headers[HEADER] = quote(user, safe="@ ")
    return response


class _Naming:
    """An ASGI application around another one."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # MLflow's middleware keeps the name in the request's state, once the login was right.
        state = scope.setdefault("state", {})

        async def named(message: Any) -> None:
            if message["type"] == "http.response.start" and (user := state.get("username")):
                message["headers"] = [
                    *message.get("headers", ()),
                    (HEADER.lower().encode(), quote(user, safe="@ ").encode()),
                ]
            await send(message)

        await self._application(scope, receive, named)
