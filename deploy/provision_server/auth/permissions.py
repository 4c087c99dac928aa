"""What MLflow's login leaves out when it asks whether a user may do something.

It compares ids as text where the store reads them as numbers, asks for a scorer's permission but not for its
experiment's, and knows nothing of the run that a request of OpenTelemetry's protocol names in a header.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

from provision_server.auth.login_guard import is_admin
from provision_server.messages import USER, Message, Receive, Send, header_values, mlflow_error
from provision_server.web.body_limits import TRACES

_EXPERIMENT, _RUN = "X-Mlflow-Experiment-Id", "X-Mlflow-Run-Id"
# What a scorer's routes do with it, by the end of their path.
_SCORERS = {"get": "can_read", "versions": "can_read", "delete": "can_update"}
_REFUSED = mlflow_error(403, "PERMISSION_DENIED", "Permission denied")


def as_stored(resource_type: str, resource_id: object) -> str:
    """Return the id of a resource as the store has it: `037` and 37 are experiment 37."""
    text = str(resource_id)
    if resource_type not in {"experiment", "scorer"}:
        return text
    experiment, slash, name = text.partition("/")
    try:
        return f"{int(experiment)}{slash}{name}"
    except ValueError:
        return text


def ask_for_all_permissions(flask: Any, asgi: Any) -> Any:
    """Have both applications ask for what MLflow's login leaves out; return the new FastAPI application."""
    auth: Any = importlib.import_module("mlflow.server.auth")
    # Every lookup of a grant goes through it.
    fold: Callable[[Any, Any], Any] = auth.fold_grants_for_key
    auth.fold_grants_for_key = lambda grants, key: fold(grants, key._replace(resource_id=as_stored(*key)))
    flask.before_request(_refused_by_flask)
    return _RunsOfTraces(asgi)


def _refused_by_flask() -> Any:
    from flask import g, request
    from mlflow.server import auth

    family, _, verb = (request.url_rule.rule if request.url_rule else "").rpartition("/")
    user = g.get("mlflow_authenticated_user")
    if not family.endswith("/mlflow/scorers") or verb not in _SCORERS or not user or is_admin(user):
        return None
    body = request.get_json(silent=True) if request.is_json else None
    named = {**request.args, **(body if isinstance(body, dict) else {})}.get("experiment_id")
    allowed = named is None or getattr(auth._get_experiment_permission(named, user), _SCORERS[verb])
    return None if allowed else _REFUSED.by_flask()


class _RunsOfTraces:
    """The FastAPI application, which the guard stands before.

    Traces are linked to a run of the experiment that they are logged to.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == TRACES and scope[USER]:
            runs, experiments = header_values(scope, _RUN), header_values(scope, _EXPERIMENT)
            if runs and not await asyncio.to_thread(_are_of, runs, experiments):
                await _REFUSED.by_asgi(send)
                return
        await self._application(scope, receive, send)


def _are_of(runs: list[str], experiments: list[str]) -> bool:
    """Return whether each of the runs is there, and of the one experiment."""
    from mlflow.exceptions import MlflowException
    from mlflow.server.handlers import _get_tracking_store

    store: Any = _get_tracking_store()
    try:
        found = {store.get_run(run).info.experiment_id for run in runs}
    except MlflowException:
        return False
    return found == {as_stored("experiment", experiment) for experiment in experiments}
