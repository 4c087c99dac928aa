"""Our tracking store answers like MLflow's own, which it makes fewer statements than."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from mlflow.entities import Metric
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from provision_server.stores.tracking import TrackingStore
from tests.server.two_stores import HOT, Databases, Ways, compare, rows
from tests.support.embedded import start_postgres

# Of those that they are asked to write, MLflow's models warn about some.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
CALLS = 500
WRITERS = 6


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    for server in start_postgres():
        yield Databases(server)


def test_each_method_that_our_store_has_in_place_of_mlflows_is_compared() -> None:
    replaced = {name for name in vars(TrackingStore) if hasattr(SqlAlchemyStore, name)}
    assert {name for name in replaced if not name.startswith("__")} == set(HOT)


@pytest.mark.parametrize("seed", ["one", "two", "three"])
def test_the_same_calls_get_the_same_answers_and_leave_the_same_rows(databases: Databases, seed: str) -> None:
    """Without the last two lines a store that leaves everything to MLflow's would pass."""
    ways = Ways(TrackingStore)
    findings = compare(databases, seed, CALLS, ways)
    print(f"\nseed {seed}: answered without MLflow's own method\n{ways}")
    assert not findings, "\n".join(findings)
    assert [name for name in HOT if not ways.short[name]] == []
    assert sum(ways.short.values()) > sum(ways.all[name] for name in HOT) / 2


def test_of_equal_metrics_written_at_once_none_is_refused_and_the_latest_is_the_greatest(
    databases: Databases,
) -> None:
    """MLflow's own store refuses some of them."""
    with databases.store(TrackingStore) as store, ThreadPoolExecutor(WRITERS) as threads:
        run = store.create_run("0", "ana", 0, [], None).info.run_id
        written = [
            metric
            for part in threads.map(write, itertools.repeat(store), itertools.repeat(run), range(WRITERS))
            for metric in part
        ]
        found = store.get_run(run).data._metric_objs
        greatest: dict[str, tuple[int, int, float]] = {}
        for metric in written:
            greatest[metric.key] = max(kept(metric), greatest.get(metric.key, kept(metric)))
        assert {metric.key: kept(metric) for metric in found} == greatest
        assert len(rows(store)["metrics"]) == len(
            {(*kept(metric), metric.key, math.isnan(metric.value)) for metric in written}
        )
        with store.engine.connect() as connection:
            waited = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            assert connection.exec_driver_sql(waited).scalar() == 0


def write(store: Any, run: str, writer: int) -> list[Metric]:
    """Log batches and single metrics of few names, times and steps; return them."""
    random, written = Random(writer), []
    for _ in range(25):
        metrics = [
            Metric(
                f"m{random.randrange(12)}",
                random.choice((1.0, 2.0, float("nan"), random.random())),
                random.randrange(6),
                random.randrange(6),
            )
            for _ in range(20)
        ]
        if random.random() < 0.7:
            store.log_batch(run, metrics, [], [])
        else:
            store.log_metric(run, metrics[0])
            metrics = metrics[:1]
        written += metrics
    return written


def kept(metric: Metric) -> tuple[int, int, float]:
    """Return what decides which metric is the latest, with the number that stands for NaN."""
    return metric.step, metric.timestamp, 0.0 if math.isnan(metric.value) else metric.value
