"""A recorded set of REST calls to MLflow, errors included; a call's ids come from answers to earlier ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
AJAX2, AJAX3 = "/ajax-api/2.0/mlflow", "/ajax-api/3.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
MISSING_RUN = "0" * 32
UNICODE = "Zürich ☃ 日本 𝄞 \u202e"
NUL = "a\x00b"

# Method, path, body or None, headers or None; answers the document, {} when there is none.
Call = Callable[..., Any]


def experiments(call: Call) -> str:
    def post(verb: str, **body: Any) -> Any:
        return call("POST", f"{V2}/experiments/{verb}", body)

    made = str(post("create", name="recorded", tags=[{"key": "team", "value": UNICODE}])["experiment_id"])
    post("create", name="recorded")
    for name in (
        "",
        5,
        None,
        ["x"],
        {"a": 1},
        True,
        "x" * 257,
        "x" * 501,
        UNICODE,
        NUL,
        "../up",
        "a/b",
        " blank ",
    ):
        post("create", name=name)
    post("create")
    post("create", name="elsewhere", artifact_location="mlflow-artifacts:/elsewhere/x")
    post("create", name="bad place 1", artifact_location="file:///etc?x=1#y")
    post("create", name="bad tags", tags="team")
    post("create", name="bad tag", tags=[{"value": "no key"}])
    post("create", name="unknown field", colour="blue")
    for query in (
        f"experiment_id={made}",
        "",
        "experiment_id=999999999",
        "experiment_id=abc",
        "experiment_id=",
        f"experiment_id={made}&experiment_id=0",
    ):
        call("GET", f"{V2}/experiments/get?{query}")
    call("GET", f"{V2}/experiments/get?experiment_id=99999999999999999999")
    call("GET", f"{AJAX2}/experiments/get?experiment_id={made}")
    for name in ("recorded", "no such name", UNICODE, NUL, ""):
        call("GET", f"{V2}/experiments/get-by-name?experiment_name={quote(name)}")
    call("GET", f"{V2}/experiments/get-by-name")
    search = "name LIKE 'recorded%'"
    post("search", max_results=5, filter=search)
    call("GET", f"{V2}/experiments/search?max_results=5&filter={quote(search)}")
    for body in (
        {"max_results": 0},
        {"max_results": -1},
        {"max_results": 50001},
        {"max_results": "ten"},
        {"max_results": 2.5},
        {"max_results": 5, "filter": "name ="},
        {"max_results": 5, "filter": "colour = 'blue'"},
        {"max_results": 5, "filter": f"tags.team = '{UNICODE}'"},
        {"max_results": 5, "filter": "name = 'recorded'; DROP TABLE runs"},
        {"max_results": 5, "filter": search, "order_by": ["colour DESC"]},
        {"max_results": 5, "filter": search, "order_by": ["name DESC"]},
        {"max_results": 5, "page_token": "not a token"},
        {"max_results": 5, "filter": search, "view_type": "EVERYTHING"},
        {"max_results": 5, "filter": search, "view_type": "DELETED_ONLY"},
        {},
    ):
        call("POST", f"{V2}/experiments/search", body)
    post("update", experiment_id=made, new_name="recorded anew")
    post("update", experiment_id=made)
    post("update", experiment_id="999999999", new_name="x")
    post("update", new_name="x")
    for key, value in (
        ("k", "v"),
        ("", "v"),
        ("k" * 251, "v"),
        ("long", "v" * 5001),
        ("k", None),
        ("k", 5),
        (UNICODE, UNICODE),
        ("nul", NUL),
    ):
        post("set-experiment-tag", experiment_id=made, key=key, value=value)
    post("delete-experiment-tag", experiment_id=made, key="k")
    post("delete-experiment-tag", experiment_id=made, key="never set")
    post("delete", experiment_id="999999999")
    post("delete")
    post("restore", experiment_id="999999999")
    other = str(post("create", name="to delete")["experiment_id"])
    for verb in ("delete", "delete", "restore", "restore", "delete"):
        post(verb, experiment_id=other)
    call("GET", f"{V2}/experiments/get?experiment_id={other}")
    call("POST", f"{V2}/runs/create", {"experiment_id": other})
    return made


def runs(call: Call, experiment: str) -> str:
    def post(verb: str, **body: Any) -> Any:
        return call("POST", f"{V2}/runs/{verb}", body)

    tags = [{"key": "mlflow.user", "value": "ada"}, {"key": "mlflow.source.type", "value": "LOCAL"}]
    made = str(
        post("create", experiment_id=experiment, run_name="first", start_time=1500000000000, tags=tags)[
            "run"
        ]["info"]["run_id"]
    )
    post(
        "create",
        experiment_id=experiment,
        run_name=UNICODE,
        start_time=1500000000001,
        tags=[{"key": "mlflow.parentRunId", "value": made}],
    )
    post("create", experiment_id="999999999")
    post("create", experiment_id=experiment, start_time="yesterday")
    post("create", experiment_id=experiment, run_name=NUL)
    post(
        "create", experiment_id=experiment, tags=[{"key": "mlflow.runName", "value": "other"}], run_name="one"
    )
    post("update", run_id=made, status="FINISHED", end_time=1500000001000)
    post("update", run_id=made, status="GONE")
    post("update", run_id=made, status="RUNNING", run_name="renamed")
    post("update", run_id=MISSING_RUN, status="FINISHED")
    post("update")
    for run_id in (made, MISSING_RUN, "x", "", quote(UNICODE), "../x", "a%00b"):
        call("GET", f"{V2}/runs/get?run_id={run_id}")
    call("GET", f"{V2}/runs/get")
    call("GET", f"{V2}/runs/get?run_uuid={made}")
    key: object
    value: object
    for key, value in (
        ("alpha", "0.5"),
        ("alpha", "0.5"),
        ("alpha", "0.6"),
        ("empty", ""),
        ("long", "v" * 6001),
        ("longer", "v" * 1_000_001),
        ("a/b c.d-e_f", "x"),
        ("bad*key", "x"),
        ("/absolute", "x"),
        ("../up", "x"),
        ("k" * 251, "x"),
        ("", "x"),
        (None, "x"),
        ("number", 5),
        ("snow", UNICODE),
        ("nul", NUL),
        (UNICODE, "x"),
    ):
        post("log-parameter", run_id=made, key=key, value=value)
    post("log-parameter", run_id=MISSING_RUN, key="k", value="v")
    post("log-parameter", key="k", value="v")
    for key, value in (
        ("k", "v"),
        ("k", "changed"),
        ("", "v"),
        ("long", "v" * 8001),
        ("snow", UNICODE),
        ("nul", NUL),
        ("k", None),
        ("b*d", "v"),
    ):
        post("set-tag", run_id=made, key=key, value=value)
    post("set-tag", run_id=MISSING_RUN, key="k", value="v")
    post("delete-tag", run_id=made, key="k")
    post("delete-tag", run_id=made, key="never set")
    dataset = {
        "name": "d",
        "digest": "1",
        "source_type": "local",
        "source": "{}",
        "schema": "{}",
        "profile": "{}",
    }
    post(
        "log-inputs",
        run_id=made,
        datasets=[{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "training"}]}],
    )
    post("log-inputs", run_id=made, datasets=[{"tags": []}])
    post("log-inputs", run_id=made, datasets=[{"dataset": {"name": "d"}}])
    post("log-inputs", run_id=made)
    post("log-inputs", datasets=[])
    post("log-model", run_id=made, model_json="{")
    post(
        "log-model",
        run_id=made,
        model_json=json.dumps(
            {"artifact_path": "m", "flavors": {}, "utc_time_created": "2026-01-01 00:00:00"}
        ),
    )
    post("log-model", run_id=made)
    post("outputs", run_id=made, models=[{"model_id": "m-0", "step": 1}])
    post("outputs", run_id=made, models=[])
    return made


def metrics(call: Call, run: str) -> None:
    def log(**body: Any) -> Any:
        return call(
            "POST",
            f"{V2}/runs/log-metric",
            {"run_id": run, "key": "m", "value": 1.5, "timestamp": 1500000000000, "step": 0} | body,
        )

    for step in range(3):
        log(step=step, value=step / 2)
    for value in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1.5",
        "one",
        None,
        True,
        [1],
        {"a": 1},
        1e308,
        -1e308,
        5e-324,
        10**400,
    ):
        log(key="values", value=value)
    for body in (
        {"timestamp": None},
        {"timestamp": -1},
        {"timestamp": "now"},
        {"timestamp": 2**63},
        {"timestamp": 1.5},
        {"step": -1},
        {"step": 2**63},
        {"step": "one"},
        {"step": None, "key": "no step"},
        {"key": None},
        {"key": ""},
        {"key": "k" * 251},
        {"key": "a/b"},
        {"key": "b*d"},
        {"key": UNICODE},
        {"key": NUL},
        {"run_id": MISSING_RUN},
        {"run_id": None},
        {"run_id": 5},
        {"model_id": "m-unknown"},
        {"dataset_name": "d"},
    ):
        log(**body)

    def batch(**body: Any) -> Any:
        return call("POST", f"{V2}/runs/log-batch", {"run_id": run} | body)

    def point(key: str, step: int = 0) -> dict[str, Any]:
        return {"key": key, "value": step / 3, "timestamp": 1500000000000 + step, "step": step}

    batch(
        metrics=[point("curve", step) for step in range(50)],
        params=[{"key": "batched", "value": "1"}],
        tags=[{"key": "t", "value": "1"}],
    )
    batch()
    batch(metrics=[])
    batch(metrics=[point("many", step) for step in range(1001)])
    batch(params=[{"key": f"p{number}", "value": "1"} for number in range(101)])
    batch(tags=[{"key": f"t{number}", "value": "1"} for number in range(101)])
    batch(
        metrics=[point(f"m{number}") for number in range(950)],
        params=[{"key": f"q{number}", "value": "1"} for number in range(60)],
    )
    batch(params=[{"key": "twice", "value": "1"}, {"key": "twice", "value": "2"}])
    batch(params=[{"key": "batched", "value": "2"}])
    batch(params=[{"key": "no value"}])
    batch(metrics=[{"key": "no value", "timestamp": 0, "step": 0}])
    batch(metrics=[point("fine"), {"key": "bad", "value": "one", "timestamp": 0, "step": 0}])
    batch(metrics="curve")
    batch(metrics=[5])
    call("POST", f"{V2}/runs/log-batch", {"run_id": MISSING_RUN, "metrics": [point("m")]})
    for query in (
        "metric_key=m",
        "metric_key=values",
        "metric_key=none",
        "metric_key=",
        "",
        "metric_key=curve&max_results=7",
        "metric_key=m&max_results=x",
    ):
        call("GET", f"{V2}/metrics/get-history?run_id={run}&{query}")
    call("GET", f"{V2}/metrics/get-history?run_id={run}&metric_key=curve&max_results=7&page_token=bad")
    call("GET", f"{V2}/metrics/get-history?metric_key=m")
    call("GET", f"{V2}/metrics/get-history?run_id={MISSING_RUN}&metric_key=m")
    bulk = f"{AJAX2}/metrics/get-history-bulk"
    call("GET", f"{bulk}?run_id={run}&metric_key=m")
    call("GET", f"{bulk}?run_id={run}&metric_key=m&max_results=2")
    call("GET", f"{bulk}?metric_key=m")
    call("GET", f"{bulk}?run_id={run}")
    call("GET", f"{bulk}?{'&'.join([f'run_id={run}'] * 101)}&metric_key=m")
    for where in (V2, AJAX2):
        interval = f"{where}/metrics/get-history-bulk-interval?run_ids={run}&metric_key=curve"
        for query in (
            "",
            "&max_results=5",
            "&max_results=0",
            "&max_results=2501",
            "&start_step=5&end_step=9",
            "&start_step=9&end_step=5",
            "&start_step=5",
        ):
            call("GET", f"{interval}{query}")
    call("GET", f"{AJAX2}/metrics/get-history-bulk-interval?metric_key=curve")


def searches(call: Call, experiment: str) -> None:
    for body in (
        {"order_by": ["attributes.start_time ASC"]},
        {"filter": "metrics.m > 0.5"},
        {"filter": "metrics.`a/b` > 0.5 AND params.alpha = '0.5'"},
        {"filter": "metrics.m > 'x'"},
        {"filter": "params.alpha > 0.5"},
        {"filter": "params.alpha ILIKE '0%'"},
        {"filter": "tags.mlflow.user = 'ada'"},
        {"filter": f"params.snow = '{UNICODE}'"},
        {"filter": "attributes.status = 'RUNNING'"},
        {"filter": "attributes.run_name LIKE 'ren%'"},
        {"filter": "attributes.colour = 'blue'"},
        {"filter": "attributes.run_id IN ('x', 'y')"},
        {"filter": "attributes.run_id IN ()"},
        {"filter": "datasets.name = 'd'"},
        {"filter": "metrics.m"},
        {"filter": "metrics.m > 0.5 OR metrics.m < 0"},
        {"filter": "'"},
        {"filter": "x" * 20_000},
        {"filter": "params.alpha = 'x\x00'"},
        {"order_by": ["metrics.m DESC", "params.alpha"]},
        {"order_by": ["metrics.m SIDEWAYS"]},
        {"order_by": ["colour"]},
        {"order_by": "metrics.m"},
        {"max_results": 1, "order_by": ["attributes.start_time ASC"]},
        {"max_results": 0},
        {"max_results": 50001},
        {"max_results": "1"},
        {"run_view_type": "ALL", "order_by": ["attributes.start_time ASC"]},
        {"run_view_type": "SOME"},
        {"page_token": "bad"},
        {"page_token": 5},
    ):
        call("POST", f"{V2}/runs/search", {"experiment_ids": [experiment], **body})
    call("POST", f"{V2}/runs/search", {"experiment_ids": ["999999999"]})
    call("POST", f"{V2}/runs/search", {"experiment_ids": ["abc"]})
    call("POST", f"{V2}/runs/search", {"experiment_ids": experiment})
    first = call("POST", f"{V2}/runs/search", {"experiment_ids": [experiment], "max_results": 1})
    call(
        "POST",
        f"{V2}/runs/search",
        {"experiment_ids": [experiment], "max_results": 1, "page_token": first.get("next_page_token")},
    )
    call("POST", f"{AJAX2}/experiments/search-datasets", {"experiment_ids": [experiment]})
    call("POST", f"{AJAX2}/experiments/search-datasets", {"experiment_ids": []})
    call("POST", f"{AJAX2}/experiments/search-datasets", {"experiment_ids": ["1"] * 21})
