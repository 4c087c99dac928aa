"""Rows about requests per second, all contenders up and settled, in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import loaded_runs
from bench.contenders import OURS, OURS_AUTH, OURS_TLS, REFERENCE, REFERENCE_AUTH, TUNED, Contenders
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
    """What wrk asks of a contender: script, arguments, and how many metrics each good answer has stored."""

    script: str
    arguments: Callable[[], list[str]]
    metrics: int = 0


def measure_log_metric(contenders: Contenders) -> None:
    """Measure log-metric to many runs."""
    _compare(
        contenders,
        LOG_METRIC,
        (REFERENCE, OURS, TUNED),
        lambda name: logging(contenders, name, "log_metric.lua", 1),
    )


def measure_log_batch(contenders: Contenders) -> None:
    """Measure log-batch of 100 metrics to many runs."""
    _compare(
        contenders,
        LOG_BATCH,
        (REFERENCE, OURS, TUNED),
        lambda name: logging(contenders, name, "log_batch.lua", METRICS_IN_BATCH),
    )


def measure_search(contenders: Contenders) -> None:
    """Measure the search for the UI's first page of an experiment of 10,000 runs."""
    _compare(contenders, SEARCH, (REFERENCE, OURS), lambda name: searching(contenders, name, RUNS))


def measure_get_run(contenders: Contenders) -> None:
    """Measure the reading of single runs of 10,000."""
    _compare(contenders, GET_RUN, (REFERENCE, OURS), lambda name: getting(contenders, name, RUNS))


def measure_login(contenders: Contenders) -> None:
    """Measure log-metric with a login; beside it ours without, and ours with TLS too.

    Then measure how long one client of ours waits for an answer, in each of these ways.
    """
    names = (REFERENCE_AUTH, OURS_AUTH, OURS_TLS, OURS)
    _compare(contenders, LOGIN, names, lambda name: logging(contenders, name, "log_metric.lua", 1))
    values = contenders.samples.values[LOGIN.name]
    for row in (LOGIN_COST, TLS_COST):
        for name in (row.reference, row.ours):
            for value in values[name]:
                contenders.add(row, name, value)
    contenders.stop(REFERENCE_AUTH)
    for turn in range(contenders.few_rounds):
        for name in contenders.order((OURS, OURS_AUTH, OURS_TLS), turn):
            asked = logging(contenders, name, "log_metric.lua", 1)
            milliseconds = ask_for(contenders, name, asked, contenders.seconds, connections=1).p50_ms
            for row in (LATENCY_LOGIN, LATENCY_TLS):
                if name in (row.reference, row.ours):
                    contenders.add(row, name, milliseconds)


def logging(contenders: Contenders, name: str, script: str, metrics: int) -> Asked:
    """Make new runs; return the requests that write metrics to them."""
    runs = make_runs(contenders.get(name).api)
    return Asked(script, lambda: [str(first_step()), *runs], metrics)


def searching(contenders: Contenders, name: str, count: int) -> Asked:
    """Load the runs; return the requests that search them."""
    experiment = loaded_runs.load(contenders.stores.postgres, contenders.get(name), count)
    return Asked("search.lua", lambda: [experiment])


def getting(contenders: Contenders, name: str, count: int) -> Asked:
    """Load the runs; return the requests that read them one by one."""
    loaded_runs.load(contenders.stores.postgres, contenders.get(name), count)
    return Asked("get_run.lua", lambda: [str(count)])


def _compare(contenders: Contenders, row: Row, names: tuple[str, ...], ask: Callable[[str], Asked]) -> None:
    contenders.only(*names)
    asked = {name: ask(name) for name in names}
    contenders.settle()
    for name in names:
        ask_for(contenders, name, asked[name], WARM_UP_SECONDS, may_be_silent=True)
    for turn in range(contenders.rounds):
        for name in contenders.order(names, turn):
            contenders.add(row, name, ask_for(contenders, name, asked[name], contenders.seconds).rate)


def ask_for(
    contenders: Contenders,
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
    contender, postgres = contenders.get(name), contenders.stores.postgres

    def stored() -> int:
        # wrk ends without waiting for the answers to its last requests; the server still works on them.
        postgres.wait_until_idle(contender.database)
        return int(postgres.query(contender.database, "SELECT count(*) FROM metrics")[0][0])

    before = stored()
    load = run_wrk(
        contender.api,
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
