"""Deleting artifacts stays inside those of one run, model or trace.

MLflow's route takes any path: `.` removes every artifact of every experiment, and a number those of a whole experiment.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_ENDPOINT = "_delete_artifact_mlflow_artifacts"
# As MLflow names what it stores: a run by 32 digits, a logged model by m- and a trace by tr- before them.
_OWNED = re.compile(r"(?:.+/)?(?:m-|tr-)?[0-9a-f]{32}/artifacts(?:/.*)?", re.DOTALL)


def is_owned(path: str) -> bool:
    """Whether what the path names belongs to one run, model or trace."""
    return bool(_OWNED.fullmatch(posixpath.normpath(path)))


def refuse_wide_deletes(flask: Any) -> None:
    """The Flask application refuses to delete what belongs to no one run, model or trace."""
    flask.before_request(_refused)


def _refused() -> Any:
    from flask import jsonify, request
    from mlflow.exceptions import MlflowException
    from mlflow.utils.uri import validate_path_is_safe

    if request.endpoint != _ENDPOINT or not request.view_args:
        return None
    try:
        # As MLflow decodes it.
        path = validate_path_is_safe(request.view_args["artifact_path"])
    except MlflowException:
        # It has words of its own for a path that leads out.
        return None
    if is_owned(path):
        return None
    message = "Only artifacts inside those of one run, model or trace are deleted here: EXPERIMENT/RUN/artifacts/..."
    return jsonify(error_code="PERMISSION_DENIED", message=message), 403
