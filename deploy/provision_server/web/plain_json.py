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
    line = f"\n{pad}  "
    lines = [f'{line}"{key}": {value}' for key, value in pairs]
    return f"{{{','.join(lines)}\n{pad}}}" if lines else "{}"


def json_list(items: Sequence[str], pad: str) -> str:
    """Return a list of items that are JSON, indented by `pad`."""
    line = f"\n{pad}  "
    return f"[{line}{f',{line}'.join(items)}\n{pad}]"


def metrics_json(rows: Iterable[Sequence[Any]], pad: str) -> str:
    """Return the list of metrics.

    Of each row key, value, timestamp, step, whether it is NaN, and where it is told its run's id.
    """
    line = f"\n{pad}    "
    before_run = f',{line}"run_id": '
    items = [
        f'{{{line}"key": {quoted(key)},{line}"value": {_number(value, is_nan)},'
        f'{line}"timestamp": {timestamp},{line}"step": {step}'
        f"{before_run + quoted(run[0]) if run else ''}\n{pad}  }}"
        for key, value, timestamp, step, is_nan, *run in rows
    ]
    return json_list(items, pad)


def run_json(row: Sequence[Any], pad: str) -> str:
    """Return the run of a row of `tracking_sql.GET_RUN`, or with `DATA_OF_FOUND` at its end.

    Raise NotPlain where MLflow would look twice: at a run of before it knew names, or of other programs.
    """
    *columns, document = row
    metrics, params, tags, datasets, models_out, *models_in = json.loads(document)
    inner, deep = pad + "  ", pad + "    "
    data = (("metrics", metrics, metrics_json), ("params", params, tags_json), ("tags", tags, tags_json))
    inputs = (
        ("dataset_inputs", datasets, _datasets_json),
        *(("model_inputs", listed, _models_json) for listed in models_in),
    )
    outputs = (("model_outputs", models_out, _outputs_json),)
    return (
        f'{{\n{inner}"info": {info_json(columns, inner)},\n{inner}"data": {_given(data, inner, deep)},'
        f'\n{inner}"inputs": {_given(inputs, inner, deep)},'
        f'\n{inner}"outputs": {_given(outputs, inner, deep)}\n{pad}}}'
    )


def info_json(columns: Sequence[Any], pad: str) -> str:
    """Return what stands in a run's own row, its columns those of `tracking_sql.INFO`.

    Raise NotPlain as above.
    """
    run_id, name, experiment_id, user_id, status, start_time, end_time, stage, artifact_uri = columns
    if not name or status not in _STATUS or type(start_time) is not int:
        raise NotPlain
    line, quoted_id = f"\n{pad}  ", quoted(run_id)
    end = f'{line}"end_time": {end_time},' if end_time else ""
    artifacts = f'{line}"artifact_uri": {quoted(artifact_uri)},' if artifact_uri else ""
    return (
        f'{{{line}"run_uuid": {quoted_id},{line}"experiment_id": "{experiment_id}",'
        f'{line}"run_name": {quoted(name)},{line}"user_id": {quoted(text(user_id))},'
        f'{line}"status": "{status}",{line}"start_time": {start_time},{end}{artifacts}'
        f'{line}"lifecycle_stage": {quoted(stage)},{line}"run_id": {quoted_id}\n{pad}}}'
    )


def _given(parts: Iterable[tuple[str, Any, Callable[[Any, str], str]]], pad: str, deep: str) -> str:
    """Return the object of those parts that have something in them."""
    return json_object([(name, made(rows, deep)) for name, rows, made in parts if rows], pad)


def _number(value: float, is_nan: bool) -> str:
    # Of JSON it may come as an int, or as the text that stands for infinity.
    number = float(value)
    if is_nan or math.isnan(number):
        return '"NaN"'
    return repr(number) if -math.inf < number < math.inf else '"Infinity"' if number > 0 else '"-Infinity"'


def tags_json(rows: Iterable[Sequence[str]], pad: str) -> str:
    """Return the list of tags or params: key and value."""
    line = f"\n{pad}    "
    items = [
        f'{{{line}"key": {quoted(key)},{line}"value": {quoted(text(value))}\n{pad}  }}' for key, value in rows
    ]
    return json_list(items, pad)


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
