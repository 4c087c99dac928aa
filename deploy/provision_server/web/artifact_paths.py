"""The paths that a client may name on the routes which serve the artifact store as it lies there.

MLflow's routes take any path. Deleting `.` removes every artifact of every experiment, and a number those of
a whole experiment. And permissions go by the number that a path begins with:
for `./5/...`, which is the same folder, it asks for none.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from typing import Any

from provision_server.auth.login_guard import is_admin
from provision_server.messages import USER, Message, Receive, Send, mlflow_error

# FastAPI's own routes; the others are Flask's, which knows more spellings of a path.
_NATIVE = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts/(.+)", re.DOTALL)
_FAMILY = "/mlflow-artifacts/"
# As MLflow names what it stores: a run by 32 digits, a logged model by m- and a trace by tr- before them.
_OWNED = re.compile(r"(?:.+/)?(?:m-|tr-)?[0-9a-f]{32}/artifacts(?:/.*)?", re.DOTALL)
_WIDE = mlflow_error(
    403,
    "PERMISSION_DENIED",
    "Only artifacts inside those of one run, model or trace are deleted here: EXPERIMENT/RUN/artifacts/...",
)
_ELSEWHERE = mlflow_error(
    403,
    "PERMISSION_DENIED",
    (
        "Artifacts are asked for by their experiment's folder: EXPERIMENT_ID/RUN_ID/artifacts/...; "
        "other folders are an admin's."
    ),
)


def is_owned(path: str) -> bool:
    """Return whether what the path names belongs to one run, model or trace."""
    return bool(_OWNED.fullmatch(posixpath.normpath(path)))


def is_of_experiment(path: str) -> bool:
    """Return whether the path plainly lies in one experiment's folder, by which permissions go."""
    folders = path.split("/")
    return folders[0].isascii() and folders[0].isdecimal() and "." not in folders


def refuse_wide_paths(flask: Any, asgi: Any, *, login: bool) -> Any:
    """Have the artifact routes of both applications refuse wide paths; return the new FastAPI application.

    Nothing is deleted but what is one run's, model's or trace's; with a login, each path but an admin's is of
    an experiment, whose permission counts.
    """
    flask.before_request(lambda: _refused_by_flask(login=login))
    return _Native(asgi) if login else asgi


def _refused_by_flask(*, login: bool) -> Any:
    from flask import g, request

    if request.url_rule is None or _FAMILY not in request.url_rule.rule:
        return None
    named = (request.view_args or {}).get("artifact_path")
    # Of two MLflow's login reads the first, and of none its handler reads the body.
    listed = request.args.getlist("path")
    path = _decoded(named if named is not None else listed[0] if len(listed) == 1 else "")
    if path is None:
        # MLflow has words of its own for a path that leads out.
        return None
    if request.method == "DELETE" and not is_owned(path):
        return _WIDE.by_flask()
    if login and not is_of_experiment(path) and not is_admin(g.get("mlflow_authenticated_user")):
        return _ELSEWHERE.by_flask()
    return None


class _Native:
    """The FastAPI application, which the guard stands before."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        found = _NATIVE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found and scope[USER] and await self._is_refused(found[1], scope[USER]):
            await _ELSEWHERE.by_asgi(send)
        else:
            await self._application(scope, receive, send)

    async def _is_refused(self, named: str, user: str) -> bool:
        path = _decoded(named)
        return path is not None and not is_of_experiment(path) and not await asyncio.to_thread(is_admin, user)


def _decoded(path: str) -> str | None:
    """Return the path as MLflow decodes it, None where MLflow refuses it, "" where it leads nowhere."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.uri import validate_path_is_safe

    try:
        return str(validate_path_is_safe(path))
    except MlflowException:
        return None
    except ValueError:
        # It looks like an address, of a host that cannot be one, and leads nowhere.
        return ""
