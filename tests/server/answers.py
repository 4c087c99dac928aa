"""Answers made comparable: what differs from one call to the next by nature gets a name in its place."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.server.deployed import Reply

_NATURE = (
    (re.compile(r"\b1[6-9]\d{11}\b"), "MILLISECONDS"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?"), "TIME"),
    # UUIDs, ids of runs, models and traces, and the beginnings of those that a database message cuts off.
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"(?<![0-9a-zA-Z])(?:[a-z]{1,3}-)?(?=[0-9a-f]*[a-f])[0-9a-f]{12,32}(?![0-9a-zA-Z])"), "ID"),
    (re.compile(r"0x[0-9a-f]{6,}"), "ADDRESS"),
    # The reference has a part of the bucket to itself.
    (re.compile(r"s3://mlflow/reference_[0-9a-f]{8}"), "s3://mlflow"),
    # The name that MLflow invents for a run without one.
    (re.compile(r"\b[a-z]+-[a-z]+-\d{1,3}\b"), "NAME"),
)
# A Python set in a message has another order in every process.
_SET = re.compile(r"\{('[^'{}]*'(?:, '[^'{}]*')*)\}")


def normal(text: str) -> str:
    """The text without ids and times."""
    for pattern, name in _NATURE:
        text = pattern.sub(name, text)
    return _SET.sub(lambda found: f"{{{', '.join(sorted(found[1].split(', ')))}}}", text)


def comparable(reply: Reply) -> tuple[int, Any]:
    """The status, and the body as what it means: JSON whatever its spacing, else text."""
    text = reply.body.decode("utf-8", "backslashreplace")
    try:
        return reply.status, _walk(json.loads(text))
    except ValueError:
        return reply.status, normal(text)


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        # An evaluation dataset's digest is made from its id and the time.
        return {
            key: "DIGEST" if key == "digest" and "dataset_id" in value else _walk(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        walked = [_walk(item) for item in value]
        # A run's metrics, parameters and tags come as the database has them;
        # the values of one key keep their order.
        return sorted(walked, key=lambda item: item["key"]) if all(map(_has_key, walked)) else walked
    if isinstance(value, str):
        return normal(value)
    is_time = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and 1_600_000_000_000 < value < 2_000_000_000_000
    )
    return "MILLISECONDS" if is_time else value


def _has_key(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("key"), str)
