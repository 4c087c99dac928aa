"""Runs and metrics as MLflow's handlers spell them in JSON, byte for byte, from the database's rows.

MLflow makes entities, protobuf of these, two dicts of that, and has Python's own code indent them: most of
the time that a search takes. The order of keys is that of protobuf's fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from provision_server.stores.tracking_rows import NotPlain, text

_STATUS = frozenset({"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"})
Pairs = Iterable[tuple[str, str]]


def json_object(pairs: Pairs, pad: str = "") -> str:
    """Return an object of keys with their values' JSON, indented by `pad`."""
    lines = [f'{pad}  "{key}": {value}' for key, value in pairs]
    return "{\n" + ",\n".join(lines) + f"\n{pad}}}" if lines else "{}"


def json_list(items: Sequence[str], pad: str) -> str:
    """Return a list of items that are JSON, indented by `pad`."""
    return "[\n" + ",\n".join([f"{pad}  {item}" for item in items]) + f"\n{pad}]"


def metrics_json(rows: Iterable[Sequence[Any]], pad: str) -> str:
    """Return the list of metrics.

    Of each row key, value, timestamp, step, whether it is NaN, and where it is told its run's id.
    """
    inner = pad + "    "
    items = []
    for key, value, timestamp, step, is_nan, *run in rows:
        number = '"NaN"' if is_nan else _number(value)
        of_run = f',\n{inner}"run_id": {quoted(run[0])}' if run else ""
        items.append(
            f'{{\n{inner}"key": {quoted(key)},\n{inner}"value": {number},\n{inner}"timestamp": {timestamp},'
            f'\n{inner}"step": {step}{of_run}\n{pad}  }}'
        )
    return json_list(items, pad)


def run_json(row: Sequence[Any], pad: str) -> str:
    """Return the run of a row of `tracking_sql.GET_RUN`, or with `DATA_OF_FOUND` at its end.

    Raise NotPlain where MLflow would look twice: at a run of before it knew names, or of other programs.
    """
    *columns, document = row
    metrics, params, tags, datasets, models_out, *models_in = json.loads(document)
    inner, deep = pad + "  ", pad + "    "
    data = _given(
        ("metrics", metrics, lambda rows: metrics_json(rows, deep)),
        ("params", params, lambda rows: tags_json(rows, deep)),
        ("tags", tags, lambda rows: tags_json(rows, deep)),
    )
    inputs = _given(
        ("dataset_inputs", datasets, lambda rows: _datasets_json(rows, deep)),
        *(("model_inputs", listed, lambda rows: _models_json(rows, deep)) for listed in models_in),
    )
    outputs = _given(("model_outputs", models_out, lambda rows: _outputs_json(rows, deep)))
    parts = (
        ("info", info_json(columns, inner)),
        ("data", json_object(data, inner)),
        ("inputs", json_object(inputs, inner)),
        ("outputs", json_object(outputs, inner)),
    )
    return json_object(parts, pad)


def info_json(columns: Sequence[Any], pad: str) -> str:
    """Return what stands in a run's own row, its columns those of `tracking_sql.INFO`.

    Raise NotPlain as above.
    """
    run_id, name, experiment_id, user_id, status, start_time, end_time, stage, artifact_uri = columns
    if not name or status not in _STATUS or type(start_time) is not int:
        raise NotPlain
    pairs = [
        ("run_uuid", quoted(run_id)),
        ("experiment_id", f'"{experiment_id}"'),
        ("run_name", quoted(name)),
        ("user_id", quoted(text(user_id))),
        ("status", f'"{status}"'),
        ("start_time", str(start_time)),
    ]
    if end_time:
        pairs.append(("end_time", str(end_time)))
    if artifact_uri:
        pairs.append(("artifact_uri", quoted(artifact_uri)))
    pairs += [("lifecycle_stage", quoted(stage)), ("run_id", quoted(run_id))]
    return json_object(pairs, pad)


def _given(*parts: tuple[str, Any, Callable[[Any], str]]) -> list[tuple[str, str]]:
    """Return the parts that have something in them."""
    return [(name, made(rows)) for name, rows, made in parts if rows]


def _number(value: float) -> str:
    # Of JSON it may come as an int, or as the text that stands for infinity.
    number = float(value)
    if math.isfinite(number):
        return repr(number)
    return '"NaN"' if math.isnan(number) else ('"Infinity"' if number > 0 else '"-Infinity"')


def tags_json(rows: Iterable[Sequence[str]], pad: str) -> str:
    """Return the list of tags or params: key and value."""
    inner = pad + "    "
    return json_list(
        [
            f'{{\n{inner}"key": {quoted(key)},\n{inner}"value": {quoted(text(value))}\n{pad}  }}'
            for key, value in rows
        ],
        pad,
    )


def _models_json(models: Iterable[str], pad: str) -> str:
    return json_list([json_object([("model_id", quoted(found))], pad + "  ") for found in models], pad)


def _outputs_json(rows: Iterable[Sequence[Any]], pad: str) -> str:
    return json_list(
        [json_object([("model_id", quoted(found)), ("step", str(step))], pad + "  ") for found, step in rows],
        pad,
    )


def _datasets_json(rows: Iterable[Sequence[Any]], pad: str) -> str:
    inner = pad + "  "
    items, seen = [], set()
    for dataset_uuid, *columns, tags in rows:
        if dataset_uuid in seen:
            # MLflow puts the tags of both together.
            raise NotPlain
        seen.add(dataset_uuid)
        named = zip(("name", "digest", "source_type", "source", "schema", "profile"), columns, strict=True)
        given = [(key, quoted(value)) for key, value in named if value or key not in {"schema", "profile"}]
        dataset = json_object(given, inner + "  ")
        listed = [("tags", tags_json(tags, inner + "  "))] if tags else []
        items.append(json_object([*listed, ("dataset", dataset)], inner))
    return json_list(items, pad)
