"""The plain spelling of what clients write most; answers are in MLflow's words for success."""

from __future__ import annotations

import math
from typing import Any

from mlflow.entities import Metric, Param, RunStatus, RunTag

from provision_server.stores.tracking import TrackingStore, short_way
from provision_server.stores.tracking_rows import NotPlain, text
from provision_server.web.plain_json import info_json, json_object, tags_json
from provision_server.web.plain_request import RUN, Body, body_of, filled, listed, plain, run_of

_METRIC = frozenset({"key", "value", "timestamp", "step"})
_PAIR = frozenset({"key", "value"})
_BATCH = frozenset({"run_id", "metrics", "params", "tags"})
_NEW_RUN = frozenset({"experiment_id", "user_id", "start_time", "tags", "run_name"})
_CHANGED_RUN = RUN | {"status", "end_time", "run_name"}
# As protobuf's JSON spells what JSON has no number for.
_NO_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DONE = "{}"


def log_metric(store: Any) -> str:
    """Answer runs/log-metric."""
    body = body_of(_METRIC | RUN)
    short_way(TrackingStore.log_metric)(store, run_of(body), _metric(body))
    return _DONE


def log_param(store: Any) -> str:
    """Answer runs/log-parameter."""
    body = body_of(_PAIR | RUN)
    short_way(TrackingStore.log_param)(store, run_of(body), _pair(Param, body))
    return _DONE


def set_tag(store: Any) -> str:
    """Answer runs/set-tag."""
    body = body_of(_PAIR | RUN)
    short_way(TrackingStore.set_tag)(store, run_of(body), _pair(RunTag, body))
    return _DONE


def log_batch(store: Any) -> str:
    """Answer runs/log-batch."""
    body = body_of(_BATCH)
    metrics = [_metric(plain(found, _METRIC)) for found in listed(body, "metrics")]
    params = [_pair(Param, plain(found, _PAIR)) for found in listed(body, "params")]
    tags = [_pair(RunTag, plain(found, _PAIR)) for found in listed(body, "tags")]
    short_way(TrackingStore.log_batch)(store, run_of(body), metrics, params, tags)
    return _DONE


def create_run(store: Any) -> str:
    """Answer runs/create."""
    body = body_of(_NEW_RUN)
    tags = [_pair(RunTag, plain(found, _PAIR)) for found in listed(body, "tags")]
    columns, tags = store.new_run(
        filled(body["experiment_id"]),
        body.get("user_id", ""),
        body.get("start_time", 0),
        tags,
        text(body.get("run_name", "")),
    )
    inner = "    "
    data = json_object([("tags", tags_json([(tag.key, tag.value) for tag in tags], inner + "  "))], inner)
    parts = (("info", info_json(columns, inner)), ("data", data), ("inputs", "{}"))
    return json_object([("run", json_object(parts, "  "))])


def update_run(store: Any) -> str:
    """Answer runs/update."""
    body = body_of(_CHANGED_RUN)
    status = RunStatus.from_string(text(body["status"])) if "status" in body else None
    # One that is null is another thing to MLflow than one that is not there.
    if any(value is None for value in body.values()):
        raise NotPlain
    row = store.updated_row(run_of(body), status, body.get("end_time"), body.get("run_name"))
    return json_object([("run_info", info_json(row, "  "))])


def _metric(found: Body) -> Metric:
    value = found["value"]
    if type(value) is str:
        value = _NO_NUMBERS[value]
    elif type(value) not in {int, float} or not math.isfinite(value):
        raise NotPlain
    return Metric(filled(found["key"]), float(value), found["timestamp"], found.get("step", 0))


def _pair(kind: Any, found: Body) -> Any:
    return kind(filled(found["key"]), text(found["value"]))
