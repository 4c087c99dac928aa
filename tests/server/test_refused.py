"""A refused request is told why, however much of it is still under way."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.server.deployed import Deployed

FOREIGN = {"Origin": "https://evil.example"}
TIMES = 12
# What MLflow refuses before it has read the body.
REFUSED = {
    "an artifact from a foreign page": ("PUT", "/api/2.0/mlflow-artifacts/artifacts/x", FOREIGN, 403),
    "a call of the event loop from a foreign page": ("POST", "/api/3.0/mlflow/mcp-servers", FOREIGN, 403),
    "a feature that is off": ("POST", "/gateway/mlflow/v1/chat/completions", {}, 501),
    "a call of a threaded worker from a foreign page": (
        "POST",
        "/api/2.0/mlflow/experiments/create",
        FOREIGN,
        403,
    ),
    "a wrong method": ("POST", "/version", {}, 405),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_gets_the_whole_answer(deployed: Deployed, case: str) -> None:
    method, path, headers, status = REFUSED[case]
    for size in (20, 100_000, 20_000_000):
        body = b"x" * size
        answers = Counter(
            (reply.status, reply.body)
            for reply in (deployed.front(method, path, body, headers) for _ in range(TIMES))
        )
        assert [seen for seen, _ in answers] == [status], (size, answers)
        assert all(text for _, text in answers)
