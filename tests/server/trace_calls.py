"""More of the recorded set of REST calls: traces, webhooks, and what else there is for generative AI."""

from __future__ import annotations

import json
from typing import Any

from tests.server.calls import AJAX3, UNICODE, V2, V3, Call


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
    body: Any
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
    made = (
        call("POST", f"{one}/assessments", {"assessment": judged})
        .get("assessment", {})
        .get("assessment_id", "none")
    )
    call("POST", f"{one}/assessments", {"assessment": {"assessment_name": "empty"}})
    call("POST", f"{one}/assessments", {})
    call("GET", f"{one}/assessments/{made}")
    call("GET", f"{one}/assessments/none")
    call(
        "PATCH",
        f"{one}/assessments/{made}",
        {"assessment": {"feedback": {"value": False}}, "update_mask": "feedback"},
    )
    call("DELETE", f"{one}/assessments/{made}")
    call("GET", f"{AJAX3}/get-trace-artifact?request_id={info['trace_id']}")
    call("GET", f"{AJAX3}/get-trace-artifact")
    call(
        "POST",
        f"{V3}/traces/metrics",
        {"experiment_ids": [experiment], "view_type": "TRACES", "metric_name": "trace_count"},
    )
    for headers in (
        {},
        {"x-mlflow-experiment-id": experiment},
        {"x-mlflow-experiment-id": experiment, "Content-Type": "application/x-protobuf"},
    ):
        for body in ("not a protobuf", b"", "{}"):
            call("POST", "/v1/traces", body, headers)
    call("GET", "/v1/traces")
    call(
        "POST", f"{V3}/traces/delete-traces", {"experiment_id": experiment, "request_ids": [info["trace_id"]]}
    )
    call("POST", f"{V3}/traces/delete-traces", {"experiment_id": experiment})


def genai(call: Call, experiment: str) -> None:
    made = call(
        "POST", f"{V3}/datasets/create", {"name": "recorded-set", "experiment_ids": [experiment]}
    ).get("dataset", {})
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
    call(
        "POST", f"{V3}/scorers/register", {"experiment_id": experiment, "name": "s", "serialized_scorer": "{"}
    )
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
    hook = {
        "name": "recorded-hook",
        "url": "https://1.1.1.1/hook",
        "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
    }
    made = call("POST", f"{V2}/webhooks", hook).get("webhook", {}).get("webhook_id", "none")
    change: dict[str, Any]
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
