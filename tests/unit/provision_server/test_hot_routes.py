"""Which requests are answered before MLflow reads them, and which are left to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException

from provision_server.stores.tracking import GivenUp, TrackingStore
from provision_server.stores.tracking_rows import NotPlain
from provision_server.web.hot_routes import answer_hot_routes

RUN = "a" * 32
METRIC = {"key": "loss", "value": 0.5, "timestamp": 3, "step": 2}
PAIR = {"run_id": RUN, "key": "p", "value": "v"}
PLAIN: dict[str, dict[str, Any]] = {
    "log-metric": {"run_id": RUN, **METRIC},
    "log-parameter": PAIR,
    "set-tag": PAIR,
    "log-batch": {"run_id": RUN, "metrics": [METRIC], "params": [{"key": "p", "value": "v"}]},
}
CASES = list(PLAIN.items())


class Store(TrackingStore):
    """Ours without a database: each statement gives one row, or raises."""

    def __init__(self) -> None:
        self.statements: list[dict[str, Any]] = []
        self.raised: Exception | None = None

    def _row(self, statement: Any, **values: Any) -> Any:
        self.statements.append(values)
        if self.raised:
            raise self.raised
        return (1,)


class Server:
    """A Flask application whose views note that they were asked."""

    def __init__(self, store: Any) -> None:
        self.store, self.left = store, 0
        flask = Flask(__name__)
        for verb in PLAIN:
            flask.add_url_rule(f"/api/2.0/mlflow/runs/{verb}", verb, self._view, methods=["POST", "PUT"])
        answer_hot_routes(flask, store)
        self._client: FlaskClient = flask.test_client()

    def _view(self) -> str:
        self.left += 1
        return "MLflow's"

    def __call__(self, verb: str, body: Any, method: str = "POST", **named: Any) -> Any:
        data = body if isinstance(body, str) else json.dumps(body)
        sent = {"content_type": "application/json", **named}
        return self._client.open(f"/api/2.0/mlflow/runs/{verb}", method=method, data=data, **sent)


@pytest.fixture
def server() -> Server:
    return Server(Store())


@pytest.mark.parametrize(("verb", "body"), CASES)
def test_a_plain_write_is_answered_at_once(server: Server, verb: str, body: dict[str, Any]) -> None:
    said = server(verb, body)
    assert (said.status_code, said.data, said.mimetype) == (200, b"{}", "application/json")
    assert (server.left, len(server.store.statements)) == (0, 1)
    assert server.store.statements[0]["run"] == RUN


@pytest.mark.parametrize(("verb", "body"), CASES[:3])
def test_mlflows_client_names_the_run_twice(server: Server, verb: str, body: dict[str, Any]) -> None:
    server(verb, body | {"run_uuid": RUN})
    assert server.left == 0
    server(verb, body | {"run_uuid": "b" * 32})
    assert server.left == 1


@pytest.mark.parametrize(("verb", "body"), CASES)
@pytest.mark.parametrize(
    "changed", [{"run_id": ""}, {"run_id": 5}, {"run_id": None}, {"colour": "blue"}, {"run_uuid": 5}], ids=str
)
def test_what_is_unusual_is_left_to_mlflow(
    server: Server, verb: str, body: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert server(verb, body | changed).data == b"MLflow's"
    assert server.store.statements == []


@pytest.mark.parametrize(("verb", "body"), CASES)
def test_what_is_no_json_object_is_left_to_mlflow(server: Server, verb: str, body: dict[str, Any]) -> None:
    for text in ("", "{", "[]", "null", "5", json.dumps(json.dumps(body))):
        server(verb, text)
    server(verb, body, content_type="text/plain")
    server(verb, body, method="PUT")
    assert server.left == 8
    assert server.store.statements == []


@pytest.mark.parametrize(
    "found",
    [
        *({"value": value} for value in (True, None, "1", "nan", [1], float("nan"), float("inf"), 10**400)),
        *({"timestamp": value} for value in (-1, 1.0, "1", None, True, 2**63)),
        *({"step": value} for value in (1.0, "1", None, 2**63)),
        *({"key": value} for value in ("", 5, None, "../x", 'q"', "k" * 251)),
        {"model_id": "m-1"},
    ],
    ids=str,
)
def test_an_unusual_metric_is_left_to_mlflow_alone_and_in_a_batch(
    server: Server, found: dict[str, Any]
) -> None:
    server("log-metric", PLAIN["log-metric"] | found)
    server("log-batch", {"run_id": RUN, "metrics": [METRIC, METRIC | found]})
    assert server.left == 2
    assert server.store.statements == []


@pytest.mark.parametrize("part", ["params", "tags"])
@pytest.mark.parametrize(
    "listed", [[{}], [5], "x", None, {"key": "a"}, [{"key": "a"}], [{"key": "", "value": "1"}]]
)
def test_an_unusual_param_or_tag_of_a_batch_is_left_to_mlflow(server: Server, part: str, listed: Any) -> None:
    server("log-batch", {"run_id": RUN, "metrics": [METRIC], part: listed})
    assert server.left == 1
    assert server.store.statements == []


@pytest.mark.parametrize(("verb", "body"), CASES)
@pytest.mark.parametrize(
    "raised", [NotPlain(), MlflowException("no"), RuntimeError("lost"), OSError()], ids=repr
)
def test_what_the_store_does_not_take_is_left_to_mlflow(
    server: Server, verb: str, body: dict[str, Any], raised: Exception
) -> None:
    server.store.raised = raised
    assert server(verb, body).data == b"MLflow's"


def test_what_was_left_to_mlflow_is_not_tried_in_the_short_way_once_more() -> None:
    flask, store = Flask(__name__), Store()

    @flask.route("/api/2.0/mlflow/runs/set-tag", methods=["POST"])
    def view() -> str:
        # MLflow's own method has no database here.
        with pytest.raises(AttributeError):
            store.set_tag(RUN, RunTag("p", "v"))
        return "MLflow's"

    answer_hot_routes(flask, store)
    store.raised = NotPlain()
    said = flask.test_client().post("/api/2.0/mlflow/runs/set-tag", json=PAIR)
    assert (said.text, len(store.statements)) == ("MLflow's", 1)
    store.raised = None
    said = flask.test_client().post("/api/2.0/mlflow/runs/set-tag", json=PAIR)
    assert (said.text, len(store.statements)) == ("{}", 2)


def test_what_took_too_much_of_the_database_is_not_asked_again(server: Server) -> None:
    server.store.raised = GivenUp(MlflowException("It took too long.", error_code=1000))
    said = server("log-metric", PLAIN["log-metric"])
    assert (said.status_code, said.json["message"], server.left) == (400, "It took too long.", 0)


def test_with_mlflows_own_store_all_is_left_to_it() -> None:
    server = Server(object())
    for verb, body in CASES:
        server(verb, body)
    assert server.left == len(CASES)


DOCUMENT = json.dumps([None] * 6)
ROW = (RUN, "name", 3, "ana", "RUNNING", 5, None, "active", "mlflow-artifacts:/3", DOCUMENT)
READS: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "runs/get": ("GET", {"run_id": RUN}, None),
    "runs/search": ("POST", {}, {"experiment_ids": ["3"], "max_results": 10, "order_by": ["metrics.a"]}),
    "metrics/get-history": ("GET", {"run_id": RUN, "metric_key": "a"}, None),
    "metrics/get-history-bulk-interval": ("GET", {"run_ids": [RUN, RUN], "metric_key": "a"}, None),
}


class Rows(Store):
    """Ours, in which everything is one run and one metric."""

    def run_row(self, run_id: str) -> Any:
        return self._row("", run=run_id) and ROW

    def search_rows(self, *asked: Any) -> Any:
        return self._row("", run=asked) and [ROW], b"next"

    def _rows(self, statement: str, **values: Any) -> Any:
        return self._row(statement, **values) and [("a", 1.0, 2, 3, False, RUN)]


@pytest.mark.parametrize("path", READS)
def test_a_plain_read_is_answered_at_once_and_an_unusual_one_left_to_mlflow(path: str) -> None:
    method, query, body = READS[path]
    flask, left = Flask(__name__), []

    @flask.route(f"/api/2.0/mlflow/{path}", methods=["GET", "POST"])
    def view() -> str:
        left.append(path)
        return "MLflow's"

    store = Rows()
    answer_hot_routes(flask, store)

    def ask(**changed: Any) -> Any:
        asked: dict[str, Any] = {"method": method, "query_string": query, "json": body} | changed
        return flask.test_client().open(f"/api/2.0/mlflow/{path}", **asked)

    assert ask().mimetype == "application/json"
    assert RUN in ask().text or path == "metrics/get-history"
    assert left == []
    changed = "query_string" if method == "GET" else "json"
    assert ask(**{changed: {**query, **(body or {}), "colour": "blue"}}).text == "MLflow's"
    store.raised = NotPlain()
    assert ask().text == "MLflow's"
    assert ask(method="POST" if method == "GET" else "GET").text == "MLflow's"


def test_only_those_experiments_are_searched_that_may_be_read() -> None:
    flask, store = Flask(__name__), Rows()
    flask.add_url_rule("/api/2.0/mlflow/runs/search", "search", lambda: "MLflow's", methods=["POST"])
    answer_hot_routes(flask, store, lambda asked: [one for one in asked if one != "secret"])
    said = flask.test_client().post("/api/2.0/mlflow/runs/search", json={"experiment_ids": ["3", "secret"]})
    assert RUN in said.text
    assert store.statements[0]["run"][0] == ["3"]


def test_a_path_that_mlflow_does_not_have_is_not_answered() -> None:
    flask = Flask(__name__)
    answer_hot_routes(flask, Store())
    said = flask.test_client().post("/api/2.0/mlflow/runs/set-tag", json=PAIR)
    assert said.status_code == 404
