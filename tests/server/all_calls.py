"""The last of the recorded REST calls, what no route can read among them; and all of them in one order."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.server.calls import AJAX3, MISSING_RUN, UNICODE, V2, V3, Call, experiments, metrics, runs, searches
from tests.server.hot_calls import hot
from tests.server.model_calls import artifacts, logged_models, registry
from tests.server.trace_calls import genai, traces


def play(call: Call) -> None:
    """Makes all calls, in one order."""
    experiment = experiments(call)
    run = runs(call, experiment)
    metrics(call, run)
    hot(call)
    searches(call, experiment)
    artifacts(call, experiment, run)
    registry(call, run)
    logged_models(call, experiment)
    traces(call, experiment)
    genai(call, experiment)
    surroundings(call)
    broken(call, experiment, run)
    endings(call, experiment, run)


def surroundings(call: Call) -> None:
    for path in (
        "/health",
        "/version",
        "/",
        "/static-files/index.html",
        "/static-files/none.js",
        "/static-files/..%2f..%2fapp.py",
        "/favicon.ico",
        "/none",
    ):
        call("GET", path)
    call("HEAD", "/")
    call("GET", f"{AJAX3}/server-info")
    call("GET", f"{V3}/server-info")
    call("POST", f"{V3}/server-info", {})
    call("DELETE", "/health")
    for query in (
        '{ test(inputString: "x") { output } }',
        "{ none }",
        "{",
        'query { mlflowGetExperiment(input: {experimentId: "999999999"}) { experiment { name } } }',
    ):
        call("POST", "/graphql", {"query": query, "variables": {}, "operationName": None})
    call("GET", f"{AJAX3}/assistant/config")
    call("GET", f"{AJAX3}/gateway/supported-providers")
    call("GET", f"{AJAX3}/ui-telemetry")
    call("GET", f"{V3}/workspaces")


def broken(call: Call, experiment: str, run: str) -> None:
    create, log = f"{V2}/experiments/create", f"{V2}/runs/log-metric"
    jsons: tuple[Any, ...] = (
        "{",
        "",
        "[]",
        "5",
        "null",
        '"text"',
        "{'name': 'x'}",
        '{"name": "dup", "name": "recorded anew"}',
        "[" * 5000,
        b"\xff\xfe",
        b'{"name": "\xff"}',
    )
    for path in (create, log, f"{V3}/mcp-servers"):
        for body in jsons:
            call("POST", path, body)
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=latin-1",
        "nonsense",
    ):
        call("POST", create, '{"name": "recorded anew"}', {"Content-Type": kind})
    call("POST", create, "name=recorded anew", {"Content-Type": "application/x-www-form-urlencoded"})
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"):
        call(method, create)
    call("POST", f"{V2}/experiments/get", {"experiment_id": experiment})
    call("POST", f"{V2}/experiments/create/", {"name": "x"})
    call("POST", f"{V2}//experiments/create", {"name": "x"})
    call("POST", "/api/2.0/mlflow/experiments%2fcreate", {"name": "x"})
    call("POST", "/API/2.0/mlflow/experiments/create", {"name": "x"})
    call("POST", "/api/1.0/mlflow/experiments/create", {"name": "x"})
    call("GET", "/api/2.0/mlflow/" + quote(UNICODE))
    call("GET", "/api/2.0/mlflow/x%zz")
    call(
        "POST",
        log,
        '{"run_id": "RUN", "key": "m", "value": NaN, "timestamp": 1, "step": 1}'.replace("RUN", run),
    )
    call(
        "POST",
        log,
        '{"run_id": "RUN", "key": "m", "value": 1e400, "timestamp": 1, "step": 1}'.replace("RUN", run),
    )
    call("POST", log, {"run_id": run, "key": "m", "value": 1, "timestamp": 1, "padding": "x" * 5_000_000})
    call("POST", create, {"name": "recorded anew"}, {"Host": "evil.example"})
    call("GET", "/version", None, {"Host": "evil.example"})
    call("GET", f"{V3}/server-info", None, {"Host": "evil.example"})
    call("POST", create, {"name": "recorded anew"}, {"Origin": "https://evil.example"})
    call("POST", f"{V3}/mcp-servers", {}, {"Origin": "https://evil.example"})
    call("OPTIONS", create, None, {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    call("POST", create, {"name": "recorded anew"}, {"Origin": "http://localhost:3000"})
    call("GET", f"{V2}/experiments/get?experiment_id=" + "9" * 4000)
    call("GET", "/version", None, {"X-Long": "x" * 4000, "Cookie": "a=b"})


def endings(call: Call, experiment: str, run: str) -> None:
    for verb in ("delete", "delete", "restore", "restore", "delete"):
        call("POST", f"{V2}/runs/{verb}", {"run_id": run})
    call("POST", f"{V2}/runs/delete", {"run_id": MISSING_RUN})
    call("POST", f"{V2}/runs/delete", {})
    call("GET", f"{V2}/runs/get?run_id={run}")
    call("POST", f"{V2}/runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1})
    call("POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "run_view_type": "DELETED_ONLY"})
    call("POST", f"{V2}/experiments/delete", {"experiment_id": experiment})
