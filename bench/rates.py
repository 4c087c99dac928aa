"""Rows about requests per second, all competitors up and settled, in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import loaded_runs
from bench.field import OURS, OURS_AUTH, OURS_TLS, REFERENCE, REFERENCE_AUTH, TUNED, Field
from bench.load import CONNECTIONS, Load, first_step, make_runs, run_wrk
from bench.rows import Goal, Row

WARM_UP_SECONDS = 1
RUNS = 10_000
METRICS_IN_BATCH = 100

LOG_METRIC = Row("log-metric, no login", "requests/s", Goal("at least", 3), beside=(TUNED,))
LOG_BATCH = Row("log-batch of 100 metrics", "requests/s", Goal("at least", 1.6), beside=(TUNED,))
SEARCH = Row("search of 10,000 runs, first page of 100", "requests/s", Goal("at least", 2))
GET_RUN = Row("get run, of 10,000", "requests/s", Goal("at least", 2))
LOGIN = Row("log-metric, with login", "requests/s", Goal("at least", 70), REFERENCE_AUTH, OURS_AUTH)
LOGIN_COST = Row(
    "ours: log-metric with login against without", "requests/s", Goal("at least", 0.7), OURS, OURS_AUTH
)
TLS_COST = Row("ours: log-metric with TLS and login against neither", "requests/s", None, OURS, OURS_TLS)
LATENCY_LOGIN = Row(
    "ours: log-metric by one client, with login against without, half are answered in",
    "ms",
    None,
    OURS,
    OURS_AUTH,
)
LATENCY_TLS = Row(
    "ours: log-metric by one client, with TLS and login against neither, half are answered in",
    "ms",
    None,
    OURS,
    OURS_TLS,
)


@dataclass(frozen=True)
class Asked:
    """What wrk asks of a competitor: script, arguments, and how many metrics each good answer has stored."""

    script: str
    arguments: Callable[[], list[str]]
    metrics: int = 0


def measure_log_metric(field: Field) -> None:
    """Measure log-metric to many runs."""
    _compare(
        field, LOG_METRIC, (REFERENCE, OURS, TUNED), lambda name: logging(field, name, "log_metric.lua", 1)
    )


def measure_log_batch(field: Field) -> None:
    """Measure log-batch of 100 metrics to many runs."""
    _compare(
        field,
        LOG_BATCH,
        (REFERENCE, OURS, TUNED),
        lambda name: logging(field, name, "log_batch.lua", METRICS_IN_BATCH),
    )


def measure_search(field: Field) -> None:
    """Measure the search for the UI's first page of an experiment of 10,000 runs."""
    _compare(field, SEARCH, (REFERENCE, OURS), lambda name: searching(field, name, RUNS))


def measure_get_run(field: Field) -> None:
    """Measure the reading of single runs of 10,000."""
    _compare(field, GET_RUN, (REFERENCE, OURS), lambda name: getting(field, name, RUNS))


def measure_login(field: Field) -> None:
    """Measure log-metric with a login; beside it ours without, and ours with TLS too.

    Then measure how long one client of ours waits for an answer, in each of these ways.
    """
    names = (REFERENCE_AUTH, OURS_AUTH, OURS_TLS, OURS)
    _compare(field, LOGIN, names, lambda name: logging(field, name, "log_metric.lua", 1))
    values = field.samples.values[LOGIN.name]
    for row in (LOGIN_COST, TLS_COST):
        for name in (row.reference, row.ours):
            for value in values[name]:
                field.add(row, name, value)
    field.stop(REFERENCE_AUTH)
    for turn in range(field.few_rounds):
        for name in field.order((OURS, OURS_AUTH, OURS_TLS), turn):
            asked = logging(field, name, "log_metric.lua", 1)
            milliseconds = ask_for(field, name, asked, field.seconds, connections=1).p50_ms
            for row in (LATENCY_LOGIN, LATENCY_TLS):
                if name in (row.reference, row.ours):
                    field.add(row, name, milliseconds)


def logging(field: Field, name: str, script: str, metrics: int) -> Asked:
    """Make new runs; return the requests that write metrics to them."""
    runs = make_runs(field.get(name).api)
    return Asked(script, lambda: [str(first_step()), *runs], metrics)


def searching(field: Field, name: str, count: int) -> Asked:
    """Load the runs; return the requests that search them."""
    experiment = loaded_runs.load(field.stores.postgres, field.get(name), count)
    return Asked("search.lua", lambda: [experiment])


def getting(field: Field, name: str, count: int) -> Asked:
    """Load the runs; return the requests that read them one by one."""
    loaded_runs.load(field.stores.postgres, field.get(name), count)
    return Asked("get_run.lua", lambda: [str(count)])


def _compare(field: Field, row: Row, names: tuple[str, ...], ask: Callable[[str], Asked]) -> None:
    field.only(*names)
    asked = {name: ask(name) for name in names}
    field.settle()
    for name in names:
        ask_for(field, name, asked[name], WARM_UP_SECONDS, may_be_silent=True)
    for turn in range(field.rounds):
        for name in field.order(names, turn):
            field.add(row, name, ask_for(field, name, asked[name], field.seconds).rate)


def ask_for(
    field: Field,
    name: str,
    asked: Asked,
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    may_be_silent: bool = False,
) -> Load:
    """Send the requests with wrk; return what it saw.

    Raise RuntimeError unless the database has what was answered for, and at most one request more of each
    connection.
    """
    competitor, postgres = field.get(name), field.stores.postgres

    def stored() -> int:
        # wrk ends without waiting for the answers to its last requests; the server still works on them.
        postgres.wait_until_idle(competitor.database)
        return int(postgres.query(competitor.database, "SELECT count(*) FROM metrics")[0][0])

    before = stored()
    load = run_wrk(
        competitor.api,
        asked.script,
        asked.arguments(),
        seconds,
        connections=connections,
        may_be_silent=may_be_silent,
    )
    found = stored() - before
    if not load.requests * asked.metrics <= found <= (load.requests + connections) * asked.metrics:
        raise RuntimeError(
            f"{name}: {load.requests} requests of {asked.metrics} metrics were answered, {found} are stored"
        )
    return load
