"""Rows about writing: metrics and batches; all contenders up and settled, in turns."""

from __future__ import annotations

from bench.asking import Asked, compare
from bench.contenders import OURS, REFERENCE, TUNED, Contenders
from bench.load import make_runs
from bench.rows import Goal, Row

ALL = (REFERENCE, OURS, TUNED)
METRICS_IN_BATCH = 100

LOG_METRIC = Row("log-metric, no login", "requests/s", Goal("at least", 6), beside=(TUNED,))
LOG_BATCH = Row("log-batch of 100 metrics", "requests/s", Goal("at least", 8), beside=(TUNED,))


def measure_log_metric(contenders: Contenders) -> None:
    """Measure log-metric to many runs."""
    compare(contenders, LOG_METRIC, ALL, lambda name: logging_metric(contenders, name))


def measure_log_batch(contenders: Contenders) -> None:
    """Measure log-batch of 100 metrics to many runs."""
    compare(contenders, LOG_BATCH, ALL, lambda name: logging_batch(contenders, name))


def logging_metric(contenders: Contenders, name: str) -> Asked:
    """Make new runs; return the requests that log one metric to them."""
    return _to_runs(contenders, name, "log_metric.lua", "metrics")


def logging_batch(contenders: Contenders, name: str) -> Asked:
    """Make new runs; return the requests that log 100 metrics to them."""
    return _to_runs(contenders, name, "log_batch.lua", "metrics", METRICS_IN_BATCH)


def _to_runs(contenders: Contenders, name: str, script: str, table: str, each: int = 1) -> Asked:
    runs = make_runs(contenders.get(name).api)
    return Asked(script, lambda first: [str(first), *runs], f"SELECT count(*) FROM {table}", each)
