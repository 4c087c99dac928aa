"""Who was let in, as a header of each answer: the front door takes it for its access log, and keeps it to itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

HEADER = "X-Provision-User"


def tell_front_door(flask: Any, asgi: Any) -> Any:
    """The FastAPI application that names the user in its answers; the Flask application does so from here on."""
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
                message["headers"] = [*message.get("headers", ()), (HEADER.lower().encode(), quote(user, safe="@ ").encode())]
            await send(message)

        await self._application(scope, receive, named)
