"""Answers made comparable: what differs from one call to the next by nature gets a name in its place."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.server.deployed import Reply

_NATURE = (
    # UUIDs, run and trace ids, and the beginnings of those that a database message cuts off.
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b(?:[a-z]{1,3}-)?[0-9a-f]{12,32}(?![0-9a-f])"), "ID"),
    (re.compile(r"\b1[6-9]\d{11}\b"), "MILLISECONDS"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?"), "TIME"),
    (re.compile(r"0x[0-9a-f]{6,}"), "ADDRESS"),
    # SQLAlchemy's number for an error's page, and names that MLflow invents.
    (re.compile(r"\b[a-z]+-[a-z]+-\d{1,4}\b"), "NAME"),
)


def normal(text: str) -> str:
    """The text without ids and times."""
    for pattern, name in _NATURE:
        text = pattern.sub(name, text)
    return text


def comparable(reply: Reply) -> tuple[int, Any]:
    """The status, and the body as what it means: JSON whatever its spacing, else text."""
    text = normal(reply.body.decode("utf-8", "backslashreplace"))
    try:
        return reply.status, json.loads(text)
    except ValueError:
        return reply.status, text
