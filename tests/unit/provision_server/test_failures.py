"""What a client is told of a request at which MLflow failed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from google.protobuf.json_format import ParseError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from provision_server.web import failures
from provision_server.web.failures import answer

WRONG = [
    TypeError("unhashable type: 'dict'"),
    AttributeError("'str' object has no attribute 'get'"),
    KeyError("x"),
    IndexError("x"),
]
WRONG += [
    RecursionError("deep"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
    ParseError("no field"),
    OverflowError("large"),
]


@pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)
def test_what_python_raises_at_a_value_is_400_without_its_words(error: Exception) -> None:
    said = answer(error)
    assert (said.status, str(error) in said.body) == (400, False)
    assert '"error_code": "INVALID_PARAMETER_VALUE"' in said.body


def test_a_value_that_cannot_be_read_is_named() -> None:
    assert (
        "invalid literal for int() with base 10: 'x'"
        in answer(ValueError("invalid literal for int() with base 10: 'x'")).body
    )


@pytest.mark.parametrize(
    "error", [RuntimeError("at /opt/venv"), OSError(errno.EIO, "Input/output error", "/opt/x"), None]
)
def test_what_is_the_servers_own_is_500_and_says_nothing_of_it(error: Exception | None) -> None:
    said = answer(error)
    assert said.status == 500
    assert "/opt" not in said.body
    assert "log" in said.body


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_database_that_left_is_503_whatever_mlflow_was_doing(kind: type[DBAPIError]) -> None:
    error = kind("SELECT secrets", {}, Exception("server closed the connection at 10.1.2.3"))
    said = answer(error)
    assert said.status == 503
    assert '"error_code": "TEMPORARILY_UNAVAILABLE"' in said.body
    assert "try again" in said.body
    assert "10.1.2.3" not in said.body


def test_a_file_that_cannot_be_there_is_the_clients_fault_and_a_full_disk_is_not() -> None:
    for number in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG):
        said = answer(OSError(number, os.strerror(number), "/var/x"))
        assert (said.status, "/var" in said.body) == (400, False)
    gone = answer(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/var/x"))
    assert (gone.status, "/var" in gone.body, "RESOURCE_DOES_NOT_EXIST" in gone.body) == (404, False, True)
    full = answer(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/x"))
    assert (full.status, "/var" in full.body, "RESOURCE_EXHAUSTED" in full.body) == (507, False, True)


def test_a_name_that_the_store_does_not_take_is_the_clients_fault_and_a_refused_key_is_not() -> None:
    said = "An error occurred ({}) when calling the PutObject operation: s3://mlflow/5/x"
    name, key = (
        answer(RuntimeError(said.format("XMinioInvalidObjectName"))),
        answer(RuntimeError(said.format("AccessDenied"))),
    )
    assert (name.status, key.status) == (400, 500)
    assert "s3:" not in name.body + key.body


SCRIPT = """
import json
from contextlib import suppress
from fastapi import FastAPI
from flask import Flask, abort
from provision_server.web.failures import explain_failures
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, FEATURE_DISABLED, INVALID_STATE
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from pathlib import Path
from sqlalchemy.exc import InterfaceError, OperationalError
from tests.support.asgi import asked, scope_of

ERRORS = {
    "type": TypeError("x"),
    "server": RuntimeError("/opt/x"),
    "file": IsADirectoryError(21, "Is a directory", "/var/x"),
    "off": MlflowException("off", FEATURE_DISABLED),
}
flask, asgi = Flask("test"), FastAPI()
explain_failures(flask, asgi)

def fails(name):
    raise LATER[name] if name in LATER else ERRORS[name]

flushing = OperationalError("SELECT secrets", {}, Exception("at 10.1.2.3"))
flushing.add_detail("raised as a result of Query-invoked autoflush")
LATER = {
    "wrapped": MlflowException(ValueError("no number"), 1),
    "left": OperationalError("SELECT secrets", {}, Exception("at 10.1.2.3")),
    "away": MlflowException(OperationalError("SELECT secrets", {}, Exception("at 10.1.2.3")), 1),
    "flush": MlflowException(flushing, TEMPORARILY_UNAVAILABLE),
    "closed": MlflowException(InterfaceError("SELECT secrets", {}, Exception("closed")), BAD_REQUEST),
    "state": MlflowException("deleted", INVALID_STATE),
    "gone": MlflowException(f"{Path.cwd()}/a is not there", RESOURCE_DOES_NOT_EXIST),
    "here": MlflowException(f"not '{Path.cwd()}', {Path.cwd()}/b", RESOURCE_DOES_NOT_EXIST),
    "words": MlflowException("in words"),
    "path": MlflowException("Invalid artifact path: 'a//b'."),
    "twice": MlflowException("`order_by` contains duplicate fields: ['tags.a']"),
    "jobs": MlflowException("Mlflow server job execution feature is not enabled, please set it"),
}
flask.add_url_rule("/<name>", view_func=fails)
asgi.get("/{name}")(fails)
flask.add_url_rule("/no/<int:code>", "no", view_func=lambda code: abort(code))
client = flask.test_client()

async def calm(*arguments):
    # Starlette hands it on when it has answered, to be logged.
    with suppress(Exception):
        await asgi(*arguments)

for name in (*ERRORS, *LATER):
    one, other = client.get(f"/{name}"), asked(calm, scope_of("GET", f"/{name}"))
    document = one.get_json()
    assert (one.status_code, document) == (other.status, json.loads(other.body)), name
    # The error goes on to uvicorn, which closes the connection: a kept one without a word, but for this.
    assert other.headers["connection"] == "close"
    print(name, one.status_code, document["error_code"], document["message"], sep=",")
print(client.get("/no/404").status_code, client.get("/no/418").status_code, sep=",")
"""


def said_in(directory: Path, script: str) -> list[str]:
    """Return what the script says in a process of its own, as MLflow's errors stay changed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_where_the_server_works_is_hidden_and_nothing_else() -> None:
    script = (
        "from provision_server.web.failures import _explain_causes\n"
        "from mlflow.exceptions import MlflowException\n"
        "_explain_causes(MlflowException)\n"
        "print(MlflowException('file:///usr/x in /usr. /usrx /usr.x /a/usr/b mlflow-artifacts://x/y'))"
    )
    assert said_in(Path("/usr"), script) == ["file://x in . /usrx /usr.x /a/usr/b mlflow-artifacts://x/y"]
    assert said_in(Path("/"), script) == [
        "file:///usr/x in /usr. /usrx /usr.x /a/usr/b mlflow-artifacts://x/y"
    ]


def test_what_has_no_code_is_still_in_mlflows_words() -> None:
    """A release of MLflow that words it otherwise would answer 500 again."""
    sources = [*Path(mlflow.__file__).parent.glob("server/**/*.py")]
    sources += [
        path
        for part in ("entities", "store", "utils")
        for path in Path(mlflow.__file__).parent.glob(f"{part}/**/*.py")
    ]
    text = "\n".join(path.read_text() for path in sources)
    assert [words for words in failures.WITHOUT_CODE if words not in text] == []


def test_both_applications_say_the_same(tmp_path: Path) -> None:
    wrong = "A value of this request is missing, or not of the form that it should have"
    assert said_in(tmp_path, SCRIPT) == [
        f"type,400,INVALID_PARAMETER_VALUE,{wrong}.",
        "server,500,INTERNAL_ERROR,The server failed at this request; its log says why.",
        "file,400,INVALID_PARAMETER_VALUE,The path cannot be one of a file here: Is a directory.",
        "off,501,FEATURE_DISABLED,off",
        f"wrapped,400,INVALID_PARAMETER_VALUE,{wrong}: no number",
        "left,503,TEMPORARILY_UNAVAILABLE,The database did not answer this request; try again.",
        "away,503,TEMPORARILY_UNAVAILABLE,The database did not answer this request; try again.",
        "flush,503,TEMPORARILY_UNAVAILABLE,The database did not answer this request; try again.",
        "closed,503,TEMPORARILY_UNAVAILABLE,The database did not answer this request; try again.",
        "state,409,INVALID_STATE,deleted",
        "gone,404,RESOURCE_DOES_NOT_EXIST,a is not there",
        "here,404,RESOURCE_DOES_NOT_EXIST,not '', b",
        "words,500,INTERNAL_ERROR,in words",
        "path,400,INVALID_PARAMETER_VALUE,Invalid artifact path: 'a//b'.",
        "twice,400,INVALID_PARAMETER_VALUE,`order_by` contains duplicate fields: ['tags.a']",
        "jobs,501,FEATURE_DISABLED,Mlflow server job execution feature is not enabled, please set it",
        "404,418",
    ]
