"""Rows about writing: metrics, batches, params, tags, runs; all contenders up and settled, in turns."""

from __future__ import annotations

import time

from bench import loaded_runs
from bench.asking import Asked, compare
from bench.contenders import OURS, REFERENCE, TUNED, Contenders
from bench.load import make_runs
from bench.rows import Goal, Row

BOTH, ALL = (REFERENCE, OURS), (REFERENCE, OURS, TUNED)
METRICS_IN_BATCH = 100
# What each made run has: who, from which file, of which kind, and its name.
TAGS_OF_MADE_RUN = 4
# So many that a run's next update comes long after the answer to the one before.
UPDATED_RUNS = 10_000

LOG_METRIC = Row("log-metric, no login", "requests/s", Goal("at least", 6), beside=(TUNED,))
LOG_METRIC_ONE = Row("log-metric, no login, 1 connection", "requests/s", Goal("at least", 25))
LOG_BATCH = Row("log-batch of 100 metrics", "requests/s", Goal("at least", 8), beside=(TUNED,))
LOG_PARAM = Row("log-param", "requests/s", Goal("at least", 5))
SET_TAG = Row("set-tag", "requests/s", Goal("at least", 5))
CREATE_RUN = Row("create-run", "requests/s", Goal("at least", 5))
UPDATE_RUN = Row("update-run", "requests/s", Goal("at least", 5))


def measure_log_metric(contenders: Contenders) -> None:
    """Measure log-metric to many runs."""
    compare(contenders, LOG_METRIC, ALL, lambda name: logging_metric(contenders, name))


def measure_log_metric_one(contenders: Contenders) -> None:
    """Measure log-metric by one client, which waits for each answer."""
    compare(contenders, LOG_METRIC_ONE, BOTH, lambda name: logging_metric(contenders, name), connections=1)


def measure_log_batch(contenders: Contenders) -> None:
    """Measure log-batch of 100 metrics to many runs."""
    compare(contenders, LOG_BATCH, ALL, lambda name: logging_batch(contenders, name))


def measure_log_param(contenders: Contenders) -> None:
    """Measure log-param to many runs, each time with a new key."""
    compare(contenders, LOG_PARAM, BOTH, lambda name: _to_runs(contenders, name, "log_param.lua", "params"))


def measure_set_tag(contenders: Contenders) -> None:
    """Measure set-tag on many runs, each time with a new key."""
    compare(contenders, SET_TAG, BOTH, lambda name: _to_runs(contenders, name, "set_tag.lua", "tags"))


def measure_create_run(contenders: Contenders) -> None:
    """Measure create-run as MLflow's client asks for it, with a name and tags."""
    compare(contenders, CREATE_RUN, BOTH, lambda name: creating_runs(contenders, name))


def measure_update_run(contenders: Contenders) -> None:
    """Measure update-run as MLflow's client ends a run, on loaded runs."""
    compare(contenders, UPDATE_RUN, BOTH, lambda name: _updating_runs(contenders, name))


def logging_metric(contenders: Contenders, name: str) -> Asked:
    """Make new runs; return the requests that log one metric to them."""
    return _to_runs(contenders, name, "log_metric.lua", "metrics")


def logging_batch(contenders: Contenders, name: str) -> Asked:
    """Make new runs; return the requests that log 100 metrics to them."""
    return _to_runs(contenders, name, "log_batch.lua", "metrics", METRICS_IN_BATCH)


def creating_runs(contenders: Contenders, name: str) -> Asked:
    """Make an experiment; return the requests that make runs in it."""
    made = contenders.get(name).api.post("experiments/create", {"name": f"made-{time.time_ns()}"})
    experiment = made["experiment_id"]
    # Counted by their tags: of a run without them too little would be found.
    stored = "SELECT count(*) FROM runs JOIN tags USING (run_uuid) WHERE name LIKE 'made-{first}-%'"
    return Asked("create_run.lua", lambda first: [str(first), experiment], stored, TAGS_OF_MADE_RUN)


def _updating_runs(contenders: Contenders, name: str) -> Asked:
    loaded_runs.load(contenders.stores.postgres, contenders.get(name), UPDATED_RUNS)
    # A run's end is that number and how often it was updated in this load.
    stored = "SELECT coalesce(sum(end_time - {first}), 0) FROM runs WHERE end_time > {first}"
    return Asked("update_run.lua", lambda first: [str(first), str(UPDATED_RUNS)], stored)


def _to_runs(contenders: Contenders, name: str, script: str, table: str, each: int = 1) -> Asked:
    runs = make_runs(contenders.get(name).api)
    return Asked(script, lambda first: [str(first), *runs], f"SELECT count(*) FROM {table}", each)
