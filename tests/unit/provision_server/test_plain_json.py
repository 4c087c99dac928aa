"""What is written of rows is what MLflow makes of them by way of entities and protobuf, byte for byte."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric
from mlflow.entities.metric import MetricWithRunId
from mlflow.protos.service_pb2 import GetMetricHistory, GetMetricHistoryBulkInterval, GetRun, SearchRuns
from mlflow.utils.proto_json_utils import message_to_json

from provision_server.stores.tracking_rows import NotPlain, found_metric, found_run
from provision_server.web.plain_json import json_list, json_object, metrics_json, run_json

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
FILLED = TEXT.filter(bool)
WHOLE = st.integers(-(2**63), 2**63 - 1)
METRIC = st.tuples(FILLED, st.floats(allow_nan=False), WHOLE, WHOLE, st.booleans())
PAIRS = st.lists(st.tuples(FILLED, TEXT), max_size=3, unique_by=lambda pair: pair[0])
DATASET = st.tuples(
    st.uuids().map(str), TEXT, TEXT, TEXT, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | PAIRS
)
DOCUMENT = st.tuples(
    st.none() | st.lists(METRIC, max_size=3, unique_by=lambda row: row[0]),
    st.none() | PAIRS,
    st.none() | PAIRS,
    st.none() | st.lists(DATASET, max_size=2, unique_by=lambda row: row[0]),
    st.none() | st.lists(st.tuples(FILLED, st.integers(0, 2**31)), max_size=2),
    st.none() | st.lists(FILLED, max_size=2),
)
COLUMNS = st.tuples(
    st.just("a" * 32),
    FILLED,
    st.integers(0, 2**31 - 1),
    TEXT,
    st.sampled_from(["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]),
    WHOLE,
    st.none() | WHOLE,
    st.sampled_from(["active", "deleted"]),
    TEXT,
)


def row_of(columns: tuple[Any, ...], document: tuple[Any, ...]) -> list[Any]:
    """As PostgreSQL gives it, which spells infinity as text."""
    metrics = [
        [key, value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity"), *rest]
        for key, value, *rest in document[0] or ()
    ]
    return [*columns, json.dumps([metrics or None, *document[1:]])]


@given(COLUMNS, DOCUMENT)
def test_a_run_is_spelled_as_mlflow_spells_it(columns: tuple[Any, ...], document: tuple[Any, ...]) -> None:
    row = row_of(columns, document)
    message = GetRun.Response()
    message.run.MergeFrom(found_run(row).to_proto())
    assert json_object([("run", run_json(row, "  "))]) == message_to_json(message)


@given(st.lists(st.tuples(COLUMNS, DOCUMENT), min_size=1, max_size=3))
def test_found_runs_are_spelled_as_mlflow_spells_them(runs: list[Any]) -> None:
    # Without the models that they have read.
    rows = [row_of(columns, document[:-1]) for columns, document in runs]
    message = SearchRuns.Response()
    message.runs.extend([found_run(row).to_proto() for row in rows])
    texts = [run_json(row, "    ") for row in rows]
    assert json_object([("runs", json_list(texts, "  "))]) == message_to_json(message)


@given(st.lists(METRIC, min_size=1, max_size=4))
def test_metrics_are_spelled_as_mlflow_spells_them(rows: list[Any]) -> None:
    message = GetMetricHistory.Response()
    message.metrics.extend([found_metric(row).to_proto() for row in rows])
    assert json_object([("metrics", metrics_json(rows, "  "))]) == message_to_json(message)


@given(st.lists(METRIC, min_size=1, max_size=4))
def test_metrics_of_several_runs_are_spelled_as_mlflow_spells_them(rows: list[Any]) -> None:
    message = GetMetricHistoryBulkInterval.Response()
    for key, value, timestamp, step, is_nan in rows:
        metric = Metric(key, math.nan if is_nan else value, timestamp, step)
        message.metrics.append(MetricWithRunId(metric, "b" * 32).to_proto())
    told = [(*row, "b" * 32) for row in rows]
    assert json_object([("metrics", metrics_json(told, "  "))]) == message_to_json(message)


@pytest.mark.parametrize(
    ("place", "value"), [(1, None), (1, ""), (3, None), (4, None), (4, "ODD"), (5, None)], ids=str
)
def test_a_run_that_mlflow_looks_at_twice_is_left_to_it(place: int, value: Any) -> None:
    columns: list[Any] = ["a" * 32, "name", 3, "ana", "RUNNING", 5, None, "active", ""]
    columns[place] = value
    with pytest.raises(NotPlain):
        run_json([*columns, json.dumps([None] * 6)], "")


def test_a_dataset_that_was_logged_twice_and_a_tag_without_a_value_are_left_to_mlflow() -> None:
    columns: list[Any] = ["a" * 32, "name", 3, "ana", "RUNNING", 5, None, "active", ""]
    dataset = ["u", "n", "d", "t", "s", None, None, None]
    for document in (
        [None, None, None, [dataset] * 2, None, None],
        [None, None, [["t", None]], None, None, None],
    ):
        with pytest.raises(NotPlain):
            run_json([*columns, json.dumps(document)], "")
