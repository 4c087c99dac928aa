"""The recorded REST calls to the routes that clients write to most, spelled plainly and in odd ways."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.server.calls import AJAX2, MISSING_RUN, UNICODE, V2, Call

_NUMBERS: tuple[Any, ...] = (
    *("NaN", "Infinity", "-Infinity", "nan", "1", "1.5", "1e999", "", None, True, [1], {"a": 1}),
    *(0, -0.0, 7, 1.5, 5e-324, 1.7976931348623157e308, 2**53 + 1, 10**30, 10**400),
)
_WHOLE: tuple[Any, ...] = (
    0,
    -1,
    1,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) + 1,
    1.0,
    1.5,
    "12",
    "x",
    True,
    None,
    [],
)
_KEYS: tuple[Any, ...] = (
    *("a", "a/b", "x y.z-1:2_", "é", UNICODE, "../x", "a//b", "/a", ".", "", "k" * 250, "k" * 251),
    *('q"', "b\\", "line\n", 5, None, True, ["a"], {"a": 1}),
)
_TEXTS: tuple[Any, ...] = (
    "",
    "v",
    UNICODE,
    "x" * 6000,
    "x" * 6001,
    "x" * 8001,
    "%(run)s {}\"\\'\n\t",
    "nul\x00",
    5,
    1.5,
    None,
    True,
    [],
)
# Half of a character, which no driver can spell; JSON has it.
_HALF = (
    ("runs/set-tag", '{"run_id": "RUN", "key": "half", "value": "\\ud800"}'),
    ("runs/set-tag", '{"run_id": "\\ud800", "key": "half", "value": "1"}'),
    ("runs/log-parameter", '{"run_id": "RUN", "key": "half", "value": "a\\udfff"}'),
    ("runs/log-batch", '{"run_id": "RUN", "tags": [{"key": "h", "value": "\\ud800"}]}'),
    ("runs/update", '{"run_id": "RUN", "run_name": "\\ud800"}'),
    ("runs/search", '{"experiment_ids": ["0"], "max_results": 1, "filter": "tags.a = \'\\ud800\'"}'),
)
_AS_IT_IS = (
    # JSON that has a value twice, a number that is none, and half a character.
    '{"run_id": "RUN", "key": "twice", "key": "again", "value": 1, "value": 2, "timestamp": 1}',
    '{"run_id": "RUN", "key": "nan", "value": NaN, "timestamp": 1}',
    '{"run_id": "RUN", "key": "inf", "value": 1e999, "timestamp": 1}',
    '{"run_id": "RUN", "key": "half", "value": "\\ud800", "timestamp": 1}',
    '"{\\"run_id\\": \\"RUN\\", \\"key\\": \\"text\\", \\"value\\": 1, \\"timestamp\\": 1}"',
)


def hot(call: Call) -> None:
    def new_experiment(name: str) -> str:
        return str(call("POST", f"{V2}/experiments/create", {"name": name})["experiment_id"])

    # Runs that begin at one time are found in the order of their ids, of which each server has others.
    runs_made_and_changed(call, new_experiment("of runs made"))
    experiment = new_experiment("of what is hot")
    runs = [
        call("POST", f"{V2}/runs/create", {"experiment_id": experiment, "start_time": start})["run"]["info"][
            "run_id"
        ]
        for start in (1, 2, 3, 4, 5)
    ]
    run = runs[-1]
    single_metrics(call, run)
    pairs(call, run)
    batches(call, run)
    call(
        "POST",
        f"{V2}/runs/log-inputs",
        {
            "run_id": run,
            "datasets": [
                {
                    "tags": [{"key": "mlflow.data.context", "value": "train"}, {"key": "é", "value": "2"}],
                    "dataset": {
                        "name": "n",
                        "digest": "d",
                        "source_type": "t",
                        "source": "s",
                        "schema": "{}",
                    },
                },
                {"dataset": {"name": "n2", "digest": "d", "source_type": "t", "source": UNICODE}},
            ],
        },
    )
    call("POST", f"{V2}/runs/outputs", {"run_id": run, "models": [{"model_id": "m-1", "step": 3}]})
    reads(call, experiment, run)
    for key in ("a", "é", "twice", "again", "nan"):
        call("GET", f"{V2}/metrics/get-history?run_id={run}&metric_key={quote(key)}")
    call("POST", f"{V2}/runs/delete", {"run_id": run})
    for verb, body in _plain(run).items():
        call("POST", f"{V2}/runs/{verb}", body)


def _plain(run: str) -> dict[str, dict[str, Any]]:
    metric = {"key": "a", "value": 1.5, "timestamp": 3, "step": 2}
    pair = {"run_id": run, "key": "p", "value": "v"}
    batch = {"run_id": run, "metrics": [metric], "params": [{"key": "p", "value": "v"}], "tags": []}
    return {
        "log-metric": {"run_id": run, **metric},
        "log-parameter": pair,
        "set-tag": pair,
        "log-batch": batch,
    }


def single_metrics(call: Call, run: str) -> None:
    path, plain = f"{V2}/runs/log-metric", _plain(run)["log-metric"]
    for changed in (
        # Each at a step of its own: MLflow gives 0 and NaN, which it stores as 0, no order.
        *({"value": value, "step": 100 + place} for place, value in enumerate(_NUMBERS)),
        *({"timestamp": value} for value in _WHOLE),
        *({"step": value} for value in _WHOLE),
        *({"key": key} for key in _KEYS),
        *({"run_id": other} for other in (MISSING_RUN, "", None, 5, True, [run], "bad id!", "x" * 300)),
        {"run_uuid": run},
        {"run_uuid": MISSING_RUN},
        {"run_uuid": None},
        {"runId": run},
        {"colour": "blue"},
        {"model_id": "m-none"},
        {"dataset_name": "d", "dataset_digest": "1"},
    ):
        call("POST", path, plain | changed)
    for missing in ("run_id", "key", "value", "timestamp", "step"):
        call("POST", path, {name: value for name, value in plain.items() if name != missing})
    call(
        "POST", path, {**{name: value for name, value in plain.items() if name != "run_id"}, "run_uuid": run}
    )
    for text in _AS_IT_IS:
        call("POST", path, text.replace("RUN", run).encode())
    call("POST", f"{path}?run_id={MISSING_RUN}", plain)
    call("POST", f"{AJAX2}/runs/log-metric", plain)
    call("POST", path, plain, {"Content-Type": "text/plain"})
    call("POST", path, plain, {"Content-Type": "application/json; charset=utf-8"})
    call("POST", path, plain, {"Content-Type": "application/vnd.x+json"})
    call("POST", path, plain, {"Content-Type": "Application/JSON"})
    call("POST", path, plain, {"Content-Type": "application/json ; charset=utf-8"})
    for route, text in _HALF:
        call("POST", f"{V2}/{route}", text.replace("RUN", run).encode())
    call("PUT", path, plain)


def pairs(call: Call, run: str) -> None:
    for verb in ("log-parameter", "set-tag"):
        path, plain = f"{V2}/runs/{verb}", _plain(run)[verb]
        for number, changed in enumerate(
            (
                *({"value": value} for value in _TEXTS),
                *({"key": key} for key in _KEYS),
                {"run_id": MISSING_RUN},
                {"run_id": MISSING_RUN, "value": "nul\x00"},
                {"run_uuid": run},
                {"run_uuid": MISSING_RUN},
                {"run_id": ""},
                {"colour": "blue"},
            )
        ):
            # A param has one value for ever.
            fresh = {"key": f"p{number}"} if verb == "log-parameter" and "key" not in changed else {}
            call("POST", path, plain | fresh | changed)
        call("POST", path, plain | {"value": "other"})
        call("POST", path, {"run_id": run, "key": "no value"})
        call("POST", path, {"run_id": run, "value": "no key"})
    call("POST", f"{V2}/runs/set-tag", {"run_id": run, "key": "mlflow.runName", "value": "renamed"})


def batches(call: Call, run: str) -> None:
    path = f"{V2}/runs/log-batch"
    metric: dict[str, Any] = {"key": "m", "value": 1, "timestamp": 1, "step": 1}
    many = [{**metric, "key": f"m{number % 700}", "step": number} for number in range(1001)]
    batches: tuple[dict[str, Any], ...] = (
        {},
        {"metrics": []},
        {"metrics": [metric] * 3},
        {
            "metrics": [
                metric,
                metric | {"value": 5},
                metric | {"step": 0},
                metric | {"value": "NaN", "step": 9},
            ]
        },
        {"metrics": many},
        {"metrics": many[:1000]},
        {"metrics": [metric, metric | {"key": "../m"}]},
        {"metrics": [metric, {"key": "m"}]},
        {"metrics": [{}]},
        {"metrics": [metric | {"model_id": ""}]},
        {"metrics": [metric | {"colour": "blue"}]},
        {"metrics": [5]},
        {"metrics": "x"},
        {"metrics": None},
        {"metrics": {"a": 1}},
        {
            "params": [{"key": "b1", "value": "1"}],
            "tags": [{"key": "b1", "value": UNICODE}],
            "metrics": [metric],
        },
        {"params": [{"key": "b1", "value": "2"}], "tags": [{"key": "left", "value": "out"}]},
        {"params": [{"key": "b2", "value": "1"}, {"key": "b2", "value": "1"}]},
        {"params": [{"key": f"b{number}", "value": "1"} for number in range(101)]},
        {"params": [{"key": "b3"}]},
        {"params": [{}]},
        {"params": [{"key": "b4", "value": None}]},
        {"tags": [{"key": "t", "value": "1"}, {"key": "t", "value": "2"}]},
        {"tags": [{}]},
        {"params": [{"key": "b5", "value": "1"}], "tags": [{"key": "t", "value": "nul\x00"}]},
        {"tags": [{"key": "mlflow.runName", "value": "in a batch"}]},
        {"run_uuid": run},
        {"colour": "blue"},
    )
    for parts in batches:
        call("POST", path, {"run_id": run, **parts})
    for other in (MISSING_RUN, "", None, 5, "bad id!"):
        call("POST", path, {"run_id": other, "metrics": [metric]})


NO_NAMES: tuple[object, ...] = (None, 5, 0, False, [], {})


def runs_made_and_changed(call: Call, experiment: str) -> None:
    made: dict[str, Any] = {
        "experiment_id": experiment,
        "user_id": "ana",
        "start_time": 5,
        "run_name": "plain",
    }
    new: tuple[dict[str, Any], ...] = (
        *({"run_name": name} for name in ("", UNICODE, "x" * 250, "x" * 251, *NO_NAMES)),
        *({"start_time": value} for value in (0, -1, 2**63 - 1, 2**63, "7", 1.0, None)),
        *({"user_id": value} for value in ("", None, 5, "x" * 257)),
        *({"experiment_id": other} for other in ("0", "999999999", "007", "x", "", None, int(experiment))),
        {"tags": [{"key": "a", "value": "b"}, {"key": UNICODE, "value": UNICODE}]},
        {"tags": [{"key": "a", "value": "b"}] * 2},
        {"tags": [{"key": "mlflow.runName", "value": "of the tag"}]},
        {"tags": [{"key": "mlflow.runName", "value": "of the tag"}], "run_name": ""},
        {"tags": [{"key": "a"}]},
        {"tags": "x"},
        {"tags": [{"key": "k" * 251, "value": "1"}]},
        {"colour": "blue"},
    )
    for changed in new:
        call("POST", f"{V2}/runs/create", made | changed)
    call("POST", f"{V2}/runs/create", {"experiment_id": experiment, "run_name": "no time"})
    run = call("POST", f"{V2}/runs/create", made)["run"]["info"]["run_id"]
    other: tuple[dict[str, Any], ...] = (
        {},
        *({"status": value} for value in ("FINISHED", "RUNNING", "finished", "NONE", "", 3, "3", None)),
        *({"end_time": value} for value in (0, 9, -1, "9", 1.5, 2**63, None)),
        *({"run_name": name} for name in ("renamed", "", "x" * 251, *NO_NAMES)),
        {"status": "FAILED", "end_time": 11, "run_name": UNICODE, "run_uuid": run},
        {"run_uuid": MISSING_RUN},
        {"run_id": MISSING_RUN},
        {"colour": "blue"},
    )
    for changed in other:
        call("POST", f"{V2}/runs/update", {"run_id": run, **changed})
    call("GET", f"{V2}/runs/get?run_id={run}")


def reads(call: Call, experiment: str, run: str) -> None:
    for query in (
        f"run_id={run}",
        f"run_id={run}&run_uuid={run}",
        f"run_uuid={run}",
        f"run_id={run}&run_uuid={MISSING_RUN}",
        f"run_id={run}&run_id={MISSING_RUN}",
        f"run_id={run}&colour=blue",
        f"run_id={MISSING_RUN}",
        "run_id=",
    ):
        call("GET", f"{V2}/runs/get?{query}")
        call("GET", f"{V2}/metrics/get-history?metric_key=m1&{query}")
    call("HEAD", f"{V2}/runs/get?run_id={run}")
    for query in (
        *(f"max_results={value}" for value in ("1", "0", "-1", "1.5", "x", "", "%C2%B2", "9" * 30, "1000")),
        *(f"page_token={value}" for value in ("eyJvZmZzZXQiOiAxfQ==", "W10=", "zzz", "")),
        "max_results=1&page_token=eyJvZmZzZXQiOiAxfQ%3D%3D",
    ):
        call("GET", f"{V2}/metrics/get-history?run_id={run}&metric_key=m1&{query}")
    charts = f"{AJAX2}/metrics/get-history-bulk-interval"
    for query in (
        f"run_ids={run}",
        f"run_ids={run}&run_ids={run}&run_ids={MISSING_RUN}",
        "&".join(f"run_ids={run}" for _ in range(101)),
        "",
        *(f"run_ids={run}&max_results={value}" for value in ("1", "2", "0", "2500", "2501", "x", "-1")),
        *(f"run_ids={run}&start_step={first}&end_step={last}" for first, last in ((1, 900), (5, 1), (-5, 5))),
        f"run_ids={run}&start_step=1",
        f"run_ids={run}&start_step=x&end_step=2",
    ):
        call("GET", f"{charts}?metric_key=m1&{query}")
    call("GET", f"{charts}?run_ids={run}")
    call("GET", f"{V2}/metrics/get-history-bulk-interval?metric_key=m1&run_ids={run}")
    found: dict[str, Any] = {"experiment_ids": [experiment], "max_results": 3}
    asked: tuple[dict[str, Any], ...] = (
        {},
        *({"max_results": value} for value in (1, 0, -1, "2", 1.0, None, 1000)),
        *({"run_view_type": value} for value in ("ALL", "DELETED_ONLY", "all", 1, None)),
        *({"order_by": value} for value in (["metrics.a DESC", "tags.p"], ["x.y"], "metrics.a", None, [5])),
        *(
            {"filter": value}
            for value in ("metrics.a > 0", "params.p0 = ''", "tags.p LIKE '%v%'", "x", None, 5)
        ),
        *({"page_token": value} for value in ("eyJvZmZzZXQiOiAxfQ==", "zzz", "", None)),
        *({"experiment_ids": value} for value in ([], ["x"], [int(experiment)], experiment, None, ["0"] * 3)),
        {"colour": "blue"},
    )
    for changed in asked:
        call("POST", f"{V2}/runs/search", found | changed)
    call("POST", f"{V2}/runs/search", {"experiment_ids": [experiment]}, {"Content-Type": "text/plain"})
