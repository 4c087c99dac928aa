"""What is said of a request that MLflow failed at: nothing of our insides, 400 where a value of it is why.

MLflow reads what clients send in many places, and takes most of it for what it should be. Its own clients ask
again for minutes after 500, and never after 400. The server's log has what happened in either case.
"""

from __future__ import annotations

import errno
import re
from functools import partial
from pathlib import Path
from typing import Any

from provision_server.messages import Refusal, mlflow_error
from provision_server.stores.statements import DID_NOT_ANSWER, is_of_database_away

_INVALID = "INVALID_PARAMETER_VALUE"
_WRONG = "A value of this request is missing, or not of the form that it should have"
_FAILED = mlflow_error(500, "INTERNAL_ERROR", "The server failed at this request; its log says why.")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_PATH = {
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.EINVAL,
    errno.ELOOP,
}
# As S3 servers say it of a name.
_NO_NAME = re.compile(r"\((?:XMinioInvalidObjectName|XMinioInvalidResourceName|KeyTooLongError|InvalidURI)\)")
# How MLflow's words begin where it gives no code to what a request is wrong with,
# and the code that they should have.
WITHOUT_CODE = {
    "Could not find a registered artifact repository for": _INVALID,
    "Either 'endpoint_name' or both": _INVALID,
    "Invalid artifact path": _INVALID,
    "Invalid comparator": _INVALID,
    "Invalid identifier type": _INVALID,
    "Invalid lifecycle stage": _INVALID,
    "Invalid version number": _INVALID,
    "Invalid view type": _INVALID,
    "Mlflow server job execution feature is not enabled": "FEATURE_DISABLED",
    "Model version transition cannot archive": _INVALID,
    "`order_by` contains duplicate fields": _INVALID,
}
# MLflow's codes that it answers with 500, and what they are.
_STATUSES = {"FEATURE_DISABLED": 501, "INVALID_STATE": 409}


def explain_failures(flask: Any, asgi: Any) -> None:
    """Have both applications say what is wrong with a request where MLflow would report its own error."""
    from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException
    from werkzeug.exceptions import InternalServerError

    ERROR_CODE_TO_HTTP_STATUS.update(_STATUSES)
    _explain_causes(MlflowException)
    flask.register_error_handler(
        InternalServerError, lambda error: answer(error.original_exception).by_flask()
    )
    asgi.add_exception_handler(OSError, _of_file_by_fastapi)
    # What no other handler takes; the error is logged afterwards.
    asgi.add_exception_handler(Exception, _by_fastapi)


def answer(error: BaseException | None) -> Refusal:
    """Return what is said of a request at which this was raised."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        # Not all of MLflow's routes know its errors.
        return Refusal(
            error.get_http_status_code(), error.serialize_as_json(), content_type="application/json"
        )
    if isinstance(error, OSError):
        return _of_file(error)
    if is_of_database_away(error):
        return mlflow_error(503, "TEMPORARILY_UNAVAILABLE", DID_NOT_ANSWER)
    if _NO_NAME.search(str(error)):
        return mlflow_error(400, _INVALID, "The artifact store takes no file of that name.")
    return mlflow_error(400, _INVALID, words(error)) if error is not None and is_of_value(error) else _FAILED


def is_of_value(error: BaseException) -> bool:
    """Return whether this is what Python, or protobuf, raises at a value of the wrong type or form."""
    from google.protobuf.json_format import Error as NoMessage

    wrong = (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RecursionError,
        SystemError,
        TypeError,
        ValueError,
        NoMessage,
    )
    return isinstance(error, wrong)


def words(error: BaseException) -> str:
    """Return what is said of such an error; what Python says of a value helps, and of its own objects not."""
    return f"{_WRONG}: {error}" if type(error) is ValueError else f"{_WRONG}."


def _of_file(error: OSError) -> Refusal:
    """Return an answer that MLflow's clients do not ask for again."""
    if error.errno in _NO_SPACE:
        where = "in its directory of temporary files or of artifacts; nothing of this file was kept"
        return mlflow_error(507, "RESOURCE_EXHAUSTED", f"{error.strerror} on the tracking server, {where}")
    if error.errno == errno.ENOENT:
        # Somebody else has just removed it.
        return mlflow_error(404, "RESOURCE_DOES_NOT_EXIST", "There is no such file.")
    if error.errno in _NO_PATH:
        return mlflow_error(400, _INVALID, f"The path cannot be one of a file here: {error.strerror}.")
    return _FAILED


def _explain_causes(kind: Any) -> None:
    """Have MLflow's own errors say so too, where they only have another error; not where the server works."""
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, ErrorCode

    made, here = kind.__init__, re.compile(rf"(?<!\w){re.escape(str(Path.cwd()))}(?:/|(?![\w-]|\.\w))")
    # Of the root there is nothing to say.
    hide = partial(here.sub, "") if Path.cwd() != Path("/") else str

    def make(self: Any, message: Any, error_code: int = INTERNAL_ERROR, *arguments: Any, **more: Any) -> None:
        if error_code == INTERNAL_ERROR and isinstance(message, Exception) and is_of_value(message):
            message, error_code = words(message), ErrorCode.Value(_INVALID)
        elif is_of_database_away(message):
            # Whatever code it has; SQLAlchemy adds to its words what it was doing.
            message, error_code = DID_NOT_ANSWER, ErrorCode.Value("TEMPORARILY_UNAVAILABLE")
        elif error_code == INTERNAL_ERROR:
            code = next(
                (code for begin, code in WITHOUT_CODE.items() if str(message).startswith(begin)),
                "INTERNAL_ERROR",
            )
            error_code = ErrorCode.Value(code)
        # MLflow makes a path of a location that is no URI, and says which.
        made(self, hide(str(message)), error_code, *arguments, **more)

    kind.__init__ = make


def _of_file_by_fastapi(request: Any, error: OSError) -> Any:
    if error.errno not in {errno.ENOENT, *_NO_SPACE, *_NO_PATH}:
        raise error
    return _by_fastapi(request, error)


def _by_fastapi(_: Any, error: Exception) -> Any:
    from starlette.responses import Response

    said = answer(error)
    # It is raised once more, to be logged, and uvicorn closes the connection over that without a word.
    return Response(said.body, said.status, {"connection": "close"}, media_type=said.content_type)
