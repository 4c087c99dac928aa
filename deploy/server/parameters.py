"""A request's parameters with one reading, where permissions are looked for by them.

MLflow's login asks for the permission on what one spelling or place of a parameter names, and its handler acts on what another names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# MLflow takes any; its login looks for them in another order than its handlers do.
_RUN = ("run_id", "run_uuid", "runId", "runUuid")
_TWO_RUNS = "The request names two runs, in run_id and in run_uuid; name one."
_NO_JSON = "The body of a DELETE is JSON, and says so: Content-Type: application/json."


def refuse_two_readings(flask: Any) -> None:
    """The Flask application refuses a request that its login and its handlers would read each in its way."""
    flask.before_request(_refused)


def _refused() -> Any:
    from flask import jsonify, request

    # Where it is no JSON, the login reads the query, and the handler the body.
    if request.method == "DELETE" and request.content_length and not request.is_json:
        fault = _NO_JSON
    elif names_two_runs(request.args.to_dict(flat=False)) or names_two_runs(request.get_json(silent=True) if request.is_json else None):
        fault = _TWO_RUNS
    else:
        return None
    return jsonify(error_code="INVALID_PARAMETER_VALUE", message=fault), 400


def names_two_runs(parameters: object) -> bool:
    """Whether the parameters' names for a run do not all have the same value."""
    if not isinstance(parameters, Mapping):
        return False
    named = [parameters[name] for name in _RUN if name in parameters]
    return any(value != named[0] for value in named)
