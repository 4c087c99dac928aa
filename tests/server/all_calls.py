"""More of the recorded set of REST calls: artifacts, registry, models, traces, and what is around them; and all of it in one order."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.server.calls import AJAX2, AJAX3, MISSING_RUN, NUL, UNICODE, V2, V3, Call, broken, endings, experiments, metrics, runs, searches

FILES = "/api/2.0/mlflow-artifacts/artifacts"


def play(call: Call) -> None:
    """Makes all calls, in one order."""
    experiment = experiments(call)
    run = runs(call, experiment)
    metrics(call, run)
    searches(call, experiment)
    artifacts(call, experiment, run)
    registry(call, run)
    logged_models(call, experiment)
    traces(call, experiment)
    genai(call, experiment)
    surroundings(call)
    broken(call, experiment, run)
    endings(call, experiment, run)


def artifacts(call: Call, experiment: str, run: str) -> None:
    folder = f"{FILES}/{experiment}/{run}/artifacts"
    text = {"Content-Type": "text/plain"}
    call("PUT", f"{folder}/notes/a.txt", "some text", text)
    call("PUT", f"{folder}/notes/{quote('ü ☃+&?#%.txt')}", UNICODE, text)
    call("PUT", f"{folder}/empty.bin", b"")
    call("PUT", f"{folder}/bytes.bin", bytes(range(256)) * 4, {"Content-Type": "application/octet-stream"})
    for name in ("notes/a.txt", f"notes/{quote('ü ☃+&?#%.txt')}", "empty.bin", "notes", "none.txt", "notes/", "notes//a.txt"):
        call("GET", f"{folder}/{name}")
    call("GET", f"{folder}/notes/a.txt", None, {"Range": "bytes=2-4"})
    call("HEAD", f"{folder}/notes/a.txt")
    call("POST", f"{folder}/notes/a.txt", {})
    call("PATCH", f"{folder}/notes/a.txt", {})
    for path in (
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/x",
        "%2Fetc%2Fpasswd",
        "a%00b",
        "file:%2f%2f%2fetc",
        "x%5c..%5cy",
        "%252e%252e%252fx",
    ):
        call("GET", f"{FILES}/{path}")
        call("PUT", f"{FILES}/{path}", "x", text)
    for path in (f"{experiment}/{run}/artifacts", f"{experiment}/{run}/artifacts/notes", f"{experiment}/none", "../..", "/etc", "a%00b"):
        call("GET", f"{FILES}?path={path}")
    for query in ("", "&path=notes", "&path=none", "&path=../..", "&path=/etc", "&path=notes/a.txt", "&path=%00"):
        call("GET", f"{V2}/artifacts/list?run_id={run}{query}")
    call("GET", f"{V2}/artifacts/list")
    call("GET", f"{V2}/artifacts/list?run_id={MISSING_RUN}")
    for query in ("path=notes/a.txt", "path=none", "path=../x", ""):
        call("GET", f"/get-artifact?run_uuid={run}&{query}")
    call("GET", "/get-artifact?path=x")
    upload = f"{AJAX2}/upload-artifact?run_uuid={run}&path="
    call("POST", f"{upload}ui/b.txt", "from the page", text)
    call("POST", f"{upload}../b.txt", "from the page", text)
    call("POST", f"{AJAX2}/upload-artifact?run_uuid={run}", "x", text)
    call("POST", f"{AJAX2}/upload-artifact?path=x", "x", text)
    call("DELETE", f"{folder}/notes/a.txt")
    call("DELETE", f"{folder}/notes/a.txt")
    call("DELETE", f"{FILES}/../../x")
    call("GET", f"{FILES}?path={experiment}/{run}/artifacts/notes")
    call("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{experiment}/big", {"path": "big", "num_parts": 0})


def registry(call: Call, run: str) -> None:
    def model(method: str, verb: str, **body: Any) -> Any:
        return call(method, f"{V2}/registered-models/{verb}", body)

    def version(method: str, verb: str, **body: Any) -> Any:
        return call(method, f"{V2}/model-versions/{verb}", body)

    for name in ("recorded-model", "recorded-model", "", None, 5, "a/b", "a:b", UNICODE, NUL, "x" * 257):
        model("POST", "create", name=name)
    model("POST", "create", name="recorded-tagged", tags=[{"key": "k", "value": "v"}], description=UNICODE)
    for name in ("recorded-model", "none", "", quote(UNICODE), "a%00b"):
        call("GET", f"{V2}/registered-models/get?name={name}")
    call("GET", f"{V2}/registered-models/get")
    source = f"runs:/{run}/model"
    version("POST", "create", name="recorded-model", source=source, run_id=run)
    version("POST", "create", name="recorded-model", source=f"mlflow-artifacts:/{run}", run_id=run, tags=[{"key": "k", "value": "v"}])
    for body in (
        {"name": "none", "source": source},
        {"name": "recorded-model"},
        {"source": source},
        {"name": "recorded-model", "source": "/etc/passwd"},
        {"name": "recorded-model", "source": "file:///etc"},
        {"name": "recorded-model", "source": "../x", "run_id": run},
        {"name": "recorded-model", "source": f"runs:/{run}/model", "run_id": run},
        {"name": "recorded-model", "source": "mlflow-artifacts:/a/../../b"},
        {"name": "recorded-model", "source": "models:/none/1"},
    ):
        call("POST", f"{V2}/model-versions/create", body)
    for query in (
        "name=recorded-model&version=1",
        "name=recorded-model&version=99",
        "name=recorded-model&version=x",
        "name=recorded-model",
        "version=1",
    ):
        call("GET", f"{V2}/model-versions/get?{query}")
        call("GET", f"{V2}/model-versions/get-download-uri?{query}")
    version("PATCH", "update", name="recorded-model", version="1", description="text")
    version("PATCH", "update", name="recorded-model", version="99", description="text")
    for stage in ("Staging", "production", "Nowhere", "", None):
        version("POST", "transition-stage", name="recorded-model", version="1", stage=stage, archive_existing_versions=True)
    model("POST", "get-latest-versions", name="recorded-model")
    model("POST", "get-latest-versions", name="recorded-model", stages=["Nowhere"])
    for alias, number in (("best", "1"), ("best", "2"), ("v1", "1"), ("latest", "1"), ("", "1"), ("best", "99"), ("ali as", "1")):
        model("POST", "alias", name="recorded-model", alias=alias, version=number)
    for query in ("name=recorded-model&alias=best", "name=recorded-model&alias=none", "name=none&alias=best", "name=recorded-model"):
        call("GET", f"{V2}/registered-models/alias?{query}")
    model("DELETE", "alias", name="recorded-model", alias="best")
    model("DELETE", "alias", name="recorded-model", alias="best")
    model("POST", "set-tag", name="recorded-model", key="k", value=UNICODE)
    model("POST", "set-tag", name="none", key="k", value="v")
    model("DELETE", "delete-tag", name="recorded-model", key="k")
    version("POST", "set-tag", name="recorded-model", version="1", key="k", value="v")
    version("POST", "set-tag", name="recorded-model", version="x", key="k", value="v")
    version("DELETE", "delete-tag", name="recorded-model", version="1", key="k")
    for query in (
        "filter=name='recorded-model'",
        "filter=name",
        "max_results=0",
        "max_results=1001",
        "filter=colour='x'",
        "page_token=bad",
    ):
        call("GET", f"{V2}/registered-models/search?{quote(query, safe='=&')}")
        call("GET", f"{V2}/model-versions/search?{quote(query, safe='=&')}")
    model("PATCH", "update", name="recorded-model", description="text")
    model("POST", "rename", name="recorded-model", new_name="recorded-tagged")
    model("POST", "rename", name="recorded-model", new_name="recorded-renamed")
    version("DELETE", "delete", name="recorded-renamed", version="2")
    version("DELETE", "delete", name="recorded-renamed", version="2")
    model("DELETE", "delete", name="recorded-renamed")
    model("DELETE", "delete", name="recorded-renamed")


def logged_models(call: Call, experiment: str) -> None:
    at = f"{V2}/logged-models"
    made = call("POST", at, {"experiment_id": experiment, "name": "net", "params": [{"key": "p", "value": "1"}]})["model"]["info"][
        "model_id"
    ]
    for body in (
        {},
        {"experiment_id": "999999999", "name": "x"},
        {"experiment_id": experiment, "name": "a/b"},
        {"experiment_id": experiment, "name": ""},
    ):
        call("POST", at, body)
    for model_id in (made, "m-none", "%00", quote(UNICODE)):
        call("GET", f"{at}/{model_id}")
    call("PATCH", f"{at}/{made}", {"model_id": made, "status": "LOGGED_MODEL_READY"})
    call("PATCH", f"{at}/{made}", {"model_id": made, "status": "DONE"})
    call("PATCH", f"{at}/{made}/tags", {"tags": [{"key": "k", "value": "v"}]})
    call("DELETE", f"{at}/{made}/tags/k")
    call("DELETE", f"{at}/{made}/tags/k")
    call("POST", f"{at}/{made}/params", {"params": [{"key": "q", "value": "2"}]})
    call("GET", f"{at}/{made}/artifacts/directories")
    call("GET", f"{AJAX2}/logged-models/{made}/artifacts/files?artifact_file_path=none")
    call("GET", f"{AJAX2}/logged-models/{made}/artifacts/files")
    for body in (
        {},
        {"filter": "name = 'net'"},
        {"filter": "name"},
        {"max_results": 0},
        {"order_by": [{"field_name": "colour"}]},
        {"page_token": "x"},
    ):
        call("POST", f"{at}/search", {"experiment_ids": [experiment], **body})
    call("DELETE", f"{at}/{made}")
    call("GET", f"{at}/{made}")


def traces(call: Call, experiment: str) -> None:
    info = {
        "trace_id": "tr-0123456789abcdef0123456789abcdef",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z",
        "execution_duration": "1.5s",
        "state": "OK",
        "request_preview": UNICODE,
        "tags": {"k": "v"},
    }
    one = f"{V3}/traces/{info['trace_id']}"
    call("POST", f"{V3}/traces", {"trace": {"trace_info": info}})
    call("POST", f"{V3}/traces", {"trace": {"trace_info": info}})
    call("POST", f"{V3}/traces", {"trace": {"trace_info": info | {"trace_id": "tr-2", "trace_location": {}}}})
    call("POST", f"{V3}/traces", {"trace": {}})
    call("POST", f"{V3}/traces", {"trace": {"trace_info": info | {"state": "FINE"}}})
    call("GET", one)
    call("GET", f"{V3}/traces/tr-none")
    call("GET", f"{V3}/traces/get?trace_id={info['trace_id']}")
    call("GET", f"{V3}/traces/batchGet?trace_ids={info['trace_id']}")
    call("POST", f"{V3}/traces/batchGetInfos", {"trace_ids": [info["trace_id"], "tr-none"]})
    call("PATCH", f"{one}/tags", {"key": "team", "value": UNICODE})
    call("PATCH", f"{V3}/traces/tr-none/tags", {"key": "team", "value": "x"})
    call("DELETE", f"{one}/tags", {"key": "team"})
    call("DELETE", f"{one}/tags", {"key": "team"})
    locations = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}]
    for body in (
        {},
        {"filter": "tags.k = 'v'"},
        {"filter": "state"},
        {"max_results": 0},
        {"max_results": 501},
        {"order_by": ["colour"]},
        {"page_token": "x"},
    ):
        call("POST", f"{V3}/traces/search", {"locations": locations, **body})
    call("POST", f"{V3}/traces/search", {})
    judged = {
        "assessment_name": "good",
        "trace_id": info["trace_id"],
        "source": {"source_type": "HUMAN", "source_id": "ada"},
        "create_time": "2026-01-01T00:00:00Z",
        "last_update_time": "2026-01-01T00:00:00Z",
        "feedback": {"value": True},
    }
    made = call("POST", f"{one}/assessments", {"assessment": judged}).get("assessment", {}).get("assessment_id", "none")
    call("POST", f"{one}/assessments", {"assessment": {"assessment_name": "empty"}})
    call("POST", f"{one}/assessments", {})
    call("GET", f"{one}/assessments/{made}")
    call("GET", f"{one}/assessments/none")
    call("PATCH", f"{one}/assessments/{made}", {"assessment": {"feedback": {"value": False}}, "update_mask": "feedback"})
    call("DELETE", f"{one}/assessments/{made}")
    call("GET", f"{AJAX3}/get-trace-artifact?request_id={info['trace_id']}")
    call("GET", f"{AJAX3}/get-trace-artifact")
    call("POST", f"{V3}/traces/metrics", {"experiment_ids": [experiment], "view_type": "TRACES", "metric_name": "trace_count"})
    for headers in (
        {},
        {"x-mlflow-experiment-id": experiment},
        {"x-mlflow-experiment-id": experiment, "Content-Type": "application/x-protobuf"},
    ):
        for body in ("not a protobuf", b"", "{}"):
            call("POST", "/v1/traces", body, headers)
    call("GET", "/v1/traces")
    call("POST", f"{V3}/traces/delete-traces", {"experiment_id": experiment, "request_ids": [info["trace_id"]]})
    call("POST", f"{V3}/traces/delete-traces", {"experiment_id": experiment})


def genai(call: Call, experiment: str) -> None:
    made = call("POST", f"{V3}/datasets/create", {"name": "recorded-set", "experiment_ids": [experiment]}).get("dataset", {})
    dataset = made.get("dataset_id", "none")
    call("POST", f"{V3}/datasets/create", {"experiment_ids": [experiment]})
    call("GET", f"{V3}/datasets/{dataset}")
    call("GET", f"{V3}/datasets/d-none")
    records = json.dumps([{"inputs": {"q": UNICODE}, "expectations": {"a": 1}}])
    call("POST", f"{V3}/datasets/{dataset}/records", {"records": records})
    call("POST", f"{V3}/datasets/{dataset}/records", {"records": "{"})
    call("GET", f"{V3}/datasets/{dataset}/records")
    call("POST", f"{V3}/datasets/search", {"filter_string": "name = 'recorded-set'"})
    call("POST", f"{V3}/datasets/search", {"filter_string": "name"})
    call("PATCH", f"{V3}/datasets/{dataset}/tags", {"tags": json.dumps({"k": "v"})})
    call("DELETE", f"{V3}/datasets/{dataset}/tags/k")
    call("DELETE", f"{V3}/datasets/{dataset}")
    call("POST", f"{V3}/scorers/register", {"experiment_id": experiment, "name": "s", "serialized_scorer": "{"})
    call("GET", f"{V3}/scorers/list?experiment_id={experiment}")
    call("GET", f"{V3}/scorers/get?experiment_id={experiment}&name=none")
    call("GET", f"{V3}/scorers/list")
    call("POST", f"{V3}/gateway/secrets/create", {"secret_name": "s"})
    call("POST", f"{V3}/prompt-optimization/jobs", {})
    call("GET", f"{V3}/mcp-servers?filter_string=x")
    call("POST", f"{V3}/mcp-servers", {})
    call("POST", f"{V3}/mcp-servers", {"name": 5})
    call("GET", f"{V3}/mcp-servers/none")
    call("GET", f"{V3}/mcp-servers/none/versions/1")
    call("DELETE", f"{V3}/mcp-servers/none")
    call("PUT", f"{V3}/mcp-servers/none", {})
    call("GET", f"{AJAX3}/mcp-servers/none")
    call("GET", "/ajax-api/3.0/jobs/none")
    call("POST", "/ajax-api/3.0/jobs/", {"job_name": "x", "params": {}})
    call("POST", "/ajax-api/3.0/jobs/search", {})
    call("POST", "/gateway/none/mlflow/invocations", {})
    call("GET", "/gateway/none")
    # An address, for MLflow looks names up, and a network without a way out answers that late or at once.
    hook = {"name": "recorded-hook", "url": "https://1.1.1.1/hook", "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]}
    made = call("POST", f"{V2}/webhooks", hook).get("webhook", {}).get("webhook_id", "none")
    for change in (
        {"name": ""},
        {"url": "not a url"},
        {"url": "http://127.0.0.1/x"},
        {"events": []},
        {"events": [{"entity": "X", "action": "Y"}]},
    ):
        call("POST", f"{V2}/webhooks", hook | change)
    call("GET", f"{V2}/webhooks/{made}")
    call("GET", f"{V2}/webhooks/none")
    call("PATCH", f"{V2}/webhooks/{made}", {"description": UNICODE})
    call("GET", f"{V2}/webhooks?max_results=0")
    call("DELETE", f"{V2}/webhooks/{made}")
    call("DELETE", f"{V2}/webhooks/{made}")


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
