"""The same calls get the same answers from the stack and from `mlflow server` started by itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.server.all_calls import play
from tests.server.answers import comparable, normal
from tests.server.deployed import Deployed, Peer, Reply
from tests.server.reference import reference


@dataclass
class Recorder:
    """Makes calls of one server and keeps what was asked and answered."""

    peer: Peer
    asked: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        reply = self.peer(method, path, body, headers)
        self.asked.append(
            f"{method} {path[:200]} {str(body)[:200] if body is not None else ''} {headers or ''}"
        )
        self.replies.append(reply)
        try:
            document = json.loads(reply.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


@pytest.fixture(scope="module")
def recorded(untouched: Deployed) -> tuple[Recorder, Recorder]:
    """The stack's answers and the reference's."""
    ours, theirs = Recorder(untouched.front), Recorder(untouched.front)
    with reference(untouched) as peer:
        theirs.peer = peer
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(play, (ours, theirs)))
    return ours, theirs


def clients_stay_at_the_proxy(ours: Reply, theirs: Reply) -> bool:
    """The stack says that clients are not sent to the S3 store, which they could not reach."""
    direct = {"multipart_uploads_enabled", "multipart_downloads_enabled"}
    same = {key: value for key, value in ours.document.items() if key not in direct} == {
        key: value for key, value in theirs.document.items() if key not in direct
    }
    return same and not any(ours.document[key] for key in direct)


def refuses_a_large_page_in_words_of_its_own(ours: Reply, theirs: Reply) -> bool:
    """Of more than 10,000 results, where MLflow's own limit is 50,000."""
    codes = [reply.document["error_code"] for reply in (ours, theirs)]
    return (
        (ours.status, theirs.status) == (400, 400)
        and codes == ["INVALID_PARAMETER_VALUE"] * 2
        and "at most 10,000" in ours.document["message"]
    )


def says_no_sql(ours: Reply, theirs: Reply) -> bool:
    """The same kind of refusal, in words that name neither the statement nor the driver."""
    mine, its = ours.document, theirs.document
    inside = ("[SQL:", "psycopg2", "constraint")
    same = ours.status == theirs.status and {**mine, "message": ""} == {**its, "message": ""}
    return same and not any(word in mine["message"] for word in inside)


def refuses_what_cannot_be_read(ours: Reply, theirs: Reply) -> bool:
    """A body that is no object, a query cut short, a NUL: faults of who asks, where MLflow has its own."""
    return (ours.status, theirs.status, ours.document["error_code"]) == (400, 500, "INVALID_PARAMETER_VALUE")


def says_what_state_it_is_in(ours: Reply, theirs: Reply) -> bool:
    """The same words, under a status after which nobody asks again."""
    return (ours.status, theirs.status) in {(409, 500), (501, 500)} and ours.document == theirs.document


# What differs, and why that is right: by the beginning of the call.
KNOWN: dict[str, Callable[[Reply, Reply], bool]] = {
    "GET /ajax-api/3.0/mlflow/server-info": clients_stay_at_the_proxy,
    "GET /api/3.0/mlflow/server-info": clients_stay_at_the_proxy,
    "POST /api/2.0/mlflow-artifacts/mpu/create/": lambda ours, theirs: (
        (ours.status, theirs.status) == (501, 200)
    ),
    # No answer allows the foreign origin, which is what a browser looks for.
    "OPTIONS /api/2.0/mlflow/experiments/create  {'Origin'": lambda ours, theirs: (
        (ours.status, theirs.status) == (204, 400)
        and "access-control-allow-origin" not in {**ours.headers, **theirs.headers}
    ),
    # Caddy refuses an address that is none.
    "GET /api/2.0/mlflow/x%zz": lambda ours, theirs: (ours.status, theirs.status) == (400, 404),
}


def is_known(asked: str, ours: Reply, theirs: Reply) -> bool:
    # MLflow hands a NUL in an address to the database, or drops it; the proxy refuses it.
    if "%00" in asked and ours.status == 400:
        return True
    if "'max_results': 50001" in asked:
        return refuses_a_large_page_in_words_of_its_own(ours, theirs)
    if b"[SQL:" in theirs.body:
        return says_no_sql(ours, theirs)
    if theirs.status == 500:
        return refuses_what_cannot_be_read(ours, theirs) or says_what_state_it_is_in(ours, theirs)
    return any(
        asked.startswith(beginning) and is_right(ours, theirs) for beginning, is_right in KNOWN.items()
    )


def test_status_and_body_are_the_same(untouched: Deployed, recorded: tuple[Recorder, Recorder]) -> None:
    ours, theirs = recorded
    assert len(ours.replies) == len(theirs.replies) >= 200
    other = [
        f"{asked}\n  ours:   {str(comparable(mine))[:600]}\n  theirs: {str(comparable(its))[:600]}"
        for asked, mine, its in zip(ours.asked, ours.replies, theirs.replies, strict=True)
        if comparable(mine) != comparable(its) and not is_known(asked, mine, its)
    ]
    assert other == [], f"{len(other)} of {len(ours.replies)} differ:\n" + "\n".join(other)
    statuses = Counter(reply.status for reply in ours.replies)
    assert sum(count for status, count in statuses.items() if status < 300) >= 100
    assert sum(count for status, count in statuses.items() if status >= 400) >= 100
    print(
        f"\n{untouched.runtime}: {len(ours.replies)} calls compared; statuses "
        f"{dict(sorted(statuses.items()))}"
    )


HOT = (
    *(
        "runs/log-metric",
        "runs/log-parameter",
        "runs/set-tag",
        "runs/log-batch",
        "runs/create",
        "runs/update",
    ),
    *("runs/get", "runs/search", "metrics/get-history", "metrics/get-history-bulk-interval"),
)


def test_what_is_answered_before_mlflow_reads_it_is_the_same_to_the_byte(
    recorded: tuple[Recorder, Recorder],
) -> None:
    ours, theirs = recorded
    other, same = [], Counter[str]()
    for asked, mine, its in zip(ours.asked, ours.replies, theirs.replies, strict=True):
        route = next((name for name in HOT if asked.split()[1].partition("?")[0].endswith(f"/{name}")), "")
        if route and mine.status == its.status == 200:
            same[route] += spelled(mine) == spelled(its)
            other += [f"{asked}: {spelled(mine)} {spelled(its)}"] if spelled(mine) != spelled(its) else []
    assert other == []
    assert {route: count for route, count in same.items() if count < 4} == {}
    assert {*same} == {*HOT}


def spelled(reply: Reply) -> tuple[str, list[str]]:
    """The media type and the lines; MLflow gives the metrics and tags of a run no order."""
    lines = normal(reply.body.decode()).split("\n")
    return reply.headers["content-type"], sorted(line.removesuffix(",") for line in lines)
