"""MLflow's metrics and runs as rows of its tables, and back.

What is not plain has no row here, and is MLflow's to judge.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunTag,
)
from mlflow.utils.mlflow_tags import _get_run_name_from_tags
from mlflow.utils.validation import _validate_metric

# In place of infinity, as MLflow stores it.
_GREATEST = 1.7976931348623157e308
_BEYOND_BIGINT = 1 << 63
_BEYOND_INTEGER = 1 << 31

Row = tuple[str, float, int, int, bool]
"""A metric: key, value, timestamp in ms, step, whether the value is NaN and stands as 0."""


class NotPlain(Exception):
    """A call that has no short way: it is MLflow's to answer."""


def text(value: object) -> str:
    """Return the value; raise NotPlain where it is no str."""
    if type(value) is not str:
        raise NotPlain
    return value


def number(value: object) -> int:
    """Return the value; raise NotPlain where it is no int that PostgreSQL's bigint holds."""
    # -2**63 PostgreSQL reads as a number that is too great, and then its sign.
    if type(value) is not int or not -_BEYOND_BIGINT < value < _BEYOND_BIGINT:
        raise NotPlain
    return value


def metric_row(metric: Metric) -> Row:
    """Return the row of a metric.

    Raise NotPlain where it is not spelled plainly, MlflowException for a name that MLflow refuses.
    """
    key, value = text(metric.key), metric.value
    timestamp, step = number(metric.timestamp), number(metric.step)
    if metric.model_id is not None or type(value) is not float or timestamp < 0:
        raise NotPlain
    _judge_name(key)
    if math.isnan(value):
        return key, 0.0, timestamp, step, True
    if math.isinf(value):
        return key, math.copysign(_GREATEST, value), timestamp, step, False
    # PostgreSQL takes MLflow's -0.0 for 0: adding makes it that here.
    return key, value + 0.0, timestamp, step, False


# A name may have a kilobyte.
@functools.lru_cache(maxsize=4_000)
def _judge_name(key: str) -> None:
    """Raise what MLflow has against the name of a metric; names come again and again."""
    _validate_metric(key, 0.0, 0, 0)


def metric_arrays(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the metrics of `tracking_sql.log_batch`: arrays as PostgreSQL's text, {} without any.

    They are made and read in a third of the time that psycopg2's lists take. Names have no quote and no
    backslash: MLflow judged them.
    """
    if not rows:
        return {}
    newest: dict[str, tuple[tuple[int, int, float], int]] = {}
    for place, (key, value, timestamp, step, _) in enumerate(rows):
        rank = (step, timestamp, value)
        if key not in newest or rank > newest[key][0]:
            newest[key] = rank, place
    places = {place for _, place in newest.values()}
    # All batches write in one order, or two of them with the same rows could wait for each other.
    order = sorted(range(len(rows)), key=rows.__getitem__)
    keys, values, timestamps, steps, nans = zip(*(rows[place] for place in order), strict=True)
    return {
        "keys": '{"' + '","'.join(keys) + '"}',
        "values": _array(map(repr, values)),
        "timestamps": _array(map(str, timestamps)),
        "steps": _array(map(str, steps)),
        "nans": _array("t" if nan else "f" for nan in nans),
        "newest": _array("t" if place in places else "f" for place in order),
    }


def _array(texts: Iterable[str]) -> str:
    return "{" + ",".join(texts) + "}"


def param_arrays(params: Sequence[Param]) -> dict[str, Any]:
    """Return the params of `tracking_sql.log_batch`, {} without any."""
    if not params:
        return {}
    return {
        "param_keys": [text(param.key) for param in params],
        "param_values": [text(param.value) for param in params],
    }


def tag_arrays(tags: Sequence[RunTag]) -> dict[str, Any]:
    """Return the tags of `tracking_sql.log_batch` and `CREATE_RUN`, {} without any.

    The last of a key counts.
    """
    last = {text(tag.key): text(tag.value) for tag in tags}
    # In one order, as the metrics.
    keys = sorted(last)
    return {"tag_keys": keys, "tag_values": [last[key] for key in keys]} if keys else {}


def experiment_number(experiment_id: object) -> int:
    """Return the number of an experiment's id; raise NotPlain where MLflow would spell it otherwise."""
    found = int(text(experiment_id))
    if str(found) != experiment_id or not 0 <= found < _BEYOND_INTEGER:
        raise NotPlain
    return found


def found_metric(row: Sequence[Any]) -> Metric:
    """Return the metric of a row."""
    key, value, timestamp, step, is_nan = row
    # JSON has no infinity and no NaN: there they are text.
    return Metric(key, math.nan if is_nan else float(value), timestamp, step)


def run_info(row: Sequence[Any]) -> RunInfo:
    """Return what stands in the row of a run, its columns those of `tracking_sql.INFO`."""
    run_id, name, experiment_id, user_id, status, start_time, end_time, stage, artifact_uri = row
    return RunInfo(
        run_id=run_id,
        run_name=name,
        experiment_id=str(experiment_id),
        user_id=user_id,
        status=status,
        start_time=start_time,
        end_time=end_time,
        lifecycle_stage=stage,
        artifact_uri=artifact_uri,
    )


def found_run(row: Sequence[Any]) -> Run:
    """Return the run of a row of `tracking_sql.GET_RUN`, or with `DATA_OF_FOUND` at its end."""
    *columns, document = row
    metrics, params, tags, datasets, models_out, *models_in = json.loads(document)
    info = run_info(columns)
    run_tags = [RunTag(*pair) for pair in tags or ()]
    if not info.run_name and (name := _get_run_name_from_tags(run_tags)):
        info._set_run_name(name)
    return Run(
        info,
        RunData(
            [found_metric(point) for point in metrics or ()],
            [Param(*pair) for pair in params or ()],
            run_tags,
        ),
        RunInputs(
            _dataset_inputs(datasets or ()),
            [LoggedModelInput(model_id=found) for listed in models_in for found in listed or ()],
        ),
        RunOutputs([LoggedModelOutput(model_id=found, step=step) for found, step in models_out or ()]),
    )


def _dataset_inputs(rows: Iterable[Sequence[Any]]) -> list[DatasetInput]:
    """Return the datasets; one that was logged twice has the tags of both."""
    datasets: dict[str, Dataset] = {}
    tags: dict[str, list[InputTag]] = {}
    for dataset_uuid, *columns, pairs in rows:
        datasets.setdefault(dataset_uuid, Dataset(*columns))
        tags.setdefault(dataset_uuid, []).extend(InputTag(*pair) for pair in pairs or ())
    return [DatasetInput(dataset=found, tags=tags[dataset_uuid]) for dataset_uuid, found in datasets.items()]
