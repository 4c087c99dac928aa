"""No client's searches take what belongs to all: the database's memory and connections, the threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from provision_server.stores.statements import OPTIONS
from tests.server.deployed import Deployed, Reply, eventually, unique
from tests.server.greedy import others

RUNS = 5_000
METRICS = 20
SEARCH = "/api/2.0/mlflow/runs/search"


@pytest.fixture(scope="module")
def experiment(deployed: Deployed) -> str:
    """An experiment of many runs, each with many metrics."""
    made = deployed.front("POST", "/api/2.0/mlflow/experiments/create", {"name": unique("many runs")})
    experiment = str(made.document["experiment_id"])
    deployed.query(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, "
        "start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
        "SELECT md5(%s || i), 'run', 'UNKNOWN', '', '', 'ana', 'FINISHED', i, i, '', 'active', '', %s "
        "FROM generate_series(1, %s) i",
        experiment, int(experiment), RUNS,
    )  # fmt: skip
    deployed.query(
        "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) "
        "SELECT 'm' || k, i %% 100, 1, md5(%s || i), 1, false "
        "FROM generate_series(1, %s) i, generate_series(1, %s) k",
        experiment, RUNS, METRICS,
    )  # fmt: skip
    deployed.query("ANALYZE runs, latest_metrics")
    return experiment


def search(deployed: Deployed, experiment: str, conditions: int, **more: Any) -> Reply:
    text = " and ".join(f"metrics.m{1 + number % METRICS} > {number % 7}" for number in range(conditions))
    return deployed.front(
        "POST", SEARCH, {"experiment_ids": [experiment], "filter": text, "max_results": 1, **more}, timeout=90
    )


def test_a_filter_has_only_so_many_conditions(deployed: Deployed, experiment: str) -> None:
    assert len(search(deployed, experiment, 50).document["runs"]) == 1
    for reply in (
        search(deployed, experiment, 51),
        search(deployed, experiment, 40, order_by=[f"metrics.o{n}" for n in range(11)]),
    ):
        assert (reply.status, reply.document["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert "more than 50 conditions" in reply.document["message"]


def test_a_search_that_cannot_be_composed_is_refused_before(deployed: Deployed, experiment: str) -> None:
    """What REST and GraphQL ask: of so many keys MLflow makes gigabytes, and is not done in minutes."""
    order = [f"metrics.o{number}" for number in range(5_000)]
    graphql = {
        "query": "query Q($input: MlflowSearchRunsInput!) { mlflowSearchRuns(input: $input) "
        "{ apiError { message } } }",
        "variables": {"input": {"experimentIds": [experiment], "orderBy": order}},
        "operationName": "Q",
    }
    for path, body in ((SEARCH, {"experiment_ids": [experiment], "order_by": order}), ("/graphql", graphql)):
        reply = deployed.front("POST", path, body, timeout=20)
        assert "more than 100 conditions" in reply.body.decode(), (path, reply)


def test_a_page_has_only_so_many_results(deployed: Deployed, experiment: str) -> None:
    assert search(deployed, experiment, 0, max_results=10_000).status == 200
    refused = search(deployed, experiment, 0, max_results=10_001)
    assert refused.status == 400
    assert "next_page_token" in refused.document["message"]


@contextmanager
def searching(deployed: Deployed, experiment: str, clients: int) -> Iterator[Counter[int]]:
    """So many clients search with the most conditions allowed, over and over; counts answers by status."""
    statuses: Counter[int] = Counter()
    end = threading.Event()

    def work(_: int) -> None:
        while not end.is_set():
            statuses[search(deployed, experiment, 50).status] += 1

    with ThreadPoolExecutor(clients) as pool:
        workers = [pool.submit(work, number) for number in range(clients)]
        try:
            yield statuses
        finally:
            end.set()
    for worker in workers:
        worker.result()


def test_who_searches_without_measure_leaves_others_half(deployed: Deployed, experiment: str) -> None:
    run = search(deployed, experiment, 0).document["runs"][0]["info"]["run_id"]
    small = f"/api/2.0/mlflow/runs/get?run_id={run}"
    others(deployed, 1, small)
    calm, kept = [], []
    statuses: Counter[int] = Counter()
    for _ in range(3):
        calm.append(others(deployed, 1, small))
        with searching(deployed, experiment, 8) as seen:
            eventually(lambda: sum(seen.values()) >= 1, "the first search is answered", seen)
            kept.append(others(deployed, 1, small))
        statuses += seen
    assert sum(kept) > sum(calm) / 2
    assert set(statuses) <= {200, 503}
    print(
        f"\n{deployed.runtime}: others {calm} calls/s, and {kept} beside 8 who search with 50 conditions; "
        f"{dict(statuses)}"
    )


def test_what_the_database_gives_up_is_said_without_its_words(deployed: Deployed, experiment: str) -> None:
    """As it is after a minute: here the statement is cancelled while it waits for a lock."""
    run = search(deployed, experiment, 0).document["runs"][0]["info"]["run_id"]
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE usename = 'mlflow' AND wait_event_type = 'Lock' "
        "AND query LIKE '%provision_get_run%'"
    )
    password = deployed.program.secret("backend_store_password")
    locking = psycopg2.connect(host=deployed.postgres_host, user="mlflow", dbname="mlflow", password=password)
    try:
        locking.cursor().execute("LOCK TABLE latest_metrics IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(deployed.front, "GET", f"/api/2.0/mlflow/runs/get?run_id={run}")
            eventually(lambda: deployed.query(waiting) != [], "the call waits for the lock")
            for (pid,) in deployed.query(waiting):
                deployed.query("SELECT pg_cancel_backend(%s)", pid)
            reply = asked.result()
    finally:
        locking.close()
    assert (reply.status, reply.document["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "took more than 60 s" in reply.document["message"]
    assert "SELECT" not in reply.document["message"]


def test_the_options_are_ones_that_postgresql_takes(deployed: Deployed) -> None:
    password = deployed.program.secret("backend_store_password")
    connection = psycopg2.connect(
        host=deployed.postgres_host, user="mlflow", dbname="mlflow", password=password, options=OPTIONS
    )
    try:
        with connection.cursor() as cursor:
            names = ("statement_timeout", "join_collapse_limit", "plan_cache_mode")
            cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
            assert cursor.fetchone() == ("1min", "4", "force_generic_plan")
    finally:
        connection.close()
