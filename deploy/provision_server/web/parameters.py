"""A request's parameters with one reading, where permissions are looked for by them.

MLflow's login asks for the permission on what one spelling or place of a parameter names,
and its handler acts on what another names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision_server.messages import mlflow_error

# MLflow takes any; its login looks for them in another order than its handlers do.
_RUN = ("run_id", "run_uuid", "runId", "runUuid")
_TWO_RUNS = "The request names two runs, in run_id and in run_uuid; name one."
_TWICE = "The request names {} in its path, and another one in its query; name one."
_NO_BODY = "A GET has no body; its parameters are in the query."
_NO_JSON = "The body of a DELETE is JSON, and says so: Content-Type: application/json."


def refuse_two_readings(flask: Any) -> None:
    """Have the Flask application refuse a request that its login and its handlers would read differently."""
    flask.before_request(_refused)


def _refused() -> Any:
    from flask import request

    fault = _fault(request)
    return mlflow_error(400, "INVALID_PARAMETER_VALUE", fault).by_flask() if fault else None


def _fault(request: Any) -> str:
    """Return what is read in two ways, "" when nothing is."""
    # Of path and query the login takes the query, and the handler the path.
    twice = [
        name
        for name, value in (request.view_args or {}).items()
        if set(request.args.getlist(name)) - {str(value)}
    ]
    if twice:
        return _TWICE.format(twice[0])
    # Of body and query, each takes the other.
    if request.method in {"GET", "HEAD"} and request.content_length:
        return _NO_BODY
    if request.method == "DELETE" and request.content_length and not request.is_json:
        return _NO_JSON
    body = request.get_json(silent=True) if request.is_json else None
    return _TWO_RUNS if names_two_runs(request.args.to_dict(flat=False)) or names_two_runs(body) else ""


def names_two_runs(parameters: object) -> bool:
    """Return whether the parameters' names for a run do not all have the same value."""
    if not isinstance(parameters, Mapping):
        return False
    named = [parameters[name] for name in _RUN if name in parameters]
    return any(value != named[0] for value in named)
