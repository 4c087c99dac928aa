"""Requests that a login and a handler would read each in its way."""

from __future__ import annotations

import pytest
from flask import Flask

from provision_server.web.parameters import names_two_runs, refuse_two_readings


@pytest.mark.parametrize(
    "parameters",
    [
        {"run_id": "a", "run_uuid": "b"},
        {"run_uuid": "a", "runId": "b"},
        {"runUuid": "a", "run_id": "b"},
        {"run_id": "", "run_uuid": "b"},
        {"run_id": ["a", "b"], "run_uuid": ["a"]},
        {"run_id": None, "run_uuid": "b"},
    ],
)
def test_two_runs_under_two_names_are_two_readings(parameters: object) -> None:
    assert names_two_runs(parameters)


# MLflow's own client sends both names with one value.
@pytest.mark.parametrize(
    "parameters",
    [{"run_id": "a", "run_uuid": "a"}, {"run_id": ["a", "b"]}, {"run_uuid": "a"}, {}, None, ["run_id"], "x"],
)
def test_one_run_has_one_reading(parameters: object) -> None:
    assert not names_two_runs(parameters)


@pytest.mark.parametrize(
    ("method", "target", "body", "kind", "status"),
    [
        ("GET", "/?run_id=a&run_uuid=b", None, None, 400),
        ("GET", "/?run_id=a&run_id=b", None, None, 200),
        ("POST", "/?run_id=a&run_uuid=b", b"file", "text/plain", 400),
        ("POST", "/", b'{"run_uuid": "a", "runId": "b"}', "application/json", 400),
        ("POST", "/", b'{"run_uuid": "a", "run_id": "a"}', "application/json", 200),
        ("POST", "/", b"no JSON", "application/json", 200),
        ("DELETE", "/?name=mine", b'{"name": "yours"}', "text/plain", 400),
        ("DELETE", "/?name=mine", b'{"name": "yours"}', None, 400),
        ("DELETE", "/", b'{"name": "yours"}', "application/json", 200),
        ("DELETE", "/?name=mine", None, None, 200),
        ("GET", "/?name=mine", b'{"name": "yours"}', "application/json", 400),
        ("GET", "/", b"{}", None, 400),
        ("GET", "/of/yours?owner=mine", None, None, 400),
        ("DELETE", "/of/yours?owner=mine", None, None, 400),
        ("GET", "/of/yours?owner=yours&owner=mine", None, None, 400),
        ("GET", "/of/yours?owner=yours", None, None, 200),
        ("GET", "/of/yours?other=mine", None, None, 200),
    ],
)
def test_a_request_with_two_readings_is_refused(
    method: str, target: str, body: bytes | None, kind: str | None, status: int
) -> None:
    flask = Flask(__name__)
    flask.add_url_rule("/", view_func=lambda: "answered", methods=["GET", "POST", "DELETE"])
    flask.add_url_rule("/of/<owner>", view_func=lambda owner: owner, methods=["GET", "DELETE"], endpoint="of")
    refuse_two_readings(flask)
    assert flask.test_client().open(target, method=method, data=body, content_type=kind).status_code == status
