"""Bodies that no route can read: refused with words, where MLflow would tell of an error of its own."""

from __future__ import annotations

import json
from typing import Any

from provision_server.messages import mlflow_error

GRAPHQL = "/graphql"


def refuse_malformed(flask: Any, *, login: bool) -> None:
    """Have the Flask application answer 400 before anything of MLflow reads the body.

    To be called before MLflow adds its login.
    """
    from flask import request
    from graphql import GraphQLError

    def refuse() -> Any:
        # Who sends a login has been let in; who sends none is answered by MLflow.
        return _refused() if not login or request.authorization else None

    flask.before_request(refuse)
    flask.register_error_handler(
        GraphQLError, lambda error: _answer(f"The query cannot be read: {error.message}")
    )


def fault(path: str, body: Any) -> str:
    """Return what is wrong with a JSON body for that path, or "". None: it is absent, empty or no JSON."""
    if isinstance(body, str):
        # Earlier clients encode it twice.
        try:
            body = json.loads(body)
        except ValueError:
            return "The body is a text, and must be an object of JSON."
    if path.endswith(GRAPHQL):
        return _graphql_fault(body)
    return (
        ""
        if body is None or isinstance(body, dict)
        else f"The body is {_kind(body)}, and must be an object of JSON."
    )


def _graphql_fault(body: Any) -> str:
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        return "The body must be an object of JSON with a text as `query`."
    if not isinstance(body.get("variables") or {}, dict):
        return "`variables` must be an object."
    return "" if isinstance(body.get("operationName") or "", str) else "`operationName` must be a text."


def _kind(value: Any) -> str:
    return (
        "an array" if isinstance(value, list) else "true or false" if isinstance(value, bool) else "a number"
    )


def _refused() -> Any:
    from flask import request

    if request.method in {"GET", "HEAD", "OPTIONS"} or not (
        request.is_json or request.path.endswith(GRAPHQL)
    ):
        return None
    found = fault(request.path, request.get_json(force=True, silent=True))
    return _answer(found) if found else None


def _answer(message: str) -> Any:
    return mlflow_error(400, "INVALID_PARAMETER_VALUE", message).by_flask()
