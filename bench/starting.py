"""Rows about starting: seconds to the first good answer, and what the server does right after it."""

from __future__ import annotations

from bench.contenders import OURS, REFERENCE, TUNED, Contenders
from bench.load import first_number, make_runs, run_wrk
from bench.memory import pss_mb
from bench.rows import Goal, Row

START = Row("start to first good answer, stores up", "s", Goal("at most", 0.3), beside=(TUNED,))
FIRST_START = Row("first start ever, which makes the schema", "s", beside=(TUNED,))
FRESH_RATE = Row("log-metric right after the first answer", "requests/s", beside=(TUNED,))
FRESH_MEMORY = Row("memory of all server processes right after start (PSS)", "MB", beside=(TUNED,))
MEMORY = Row(
    "memory of all server processes after a minute (PSS)", "MB", Goal("at most", 0.2), beside=(TUNED,)
)


def measure_start(contenders: Contenders) -> None:
    """Measure starts in turns, each contender alone; and its rate in the first seconds."""
    names = (REFERENCE, OURS, TUNED)
    runs = {}
    for name in names:
        contenders.only(name)
        contenders.add(FIRST_START, name, contenders.first_start[name])
        # Made here, since right after a later start it would give the server time.
        runs[name] = make_runs(contenders.get(name).api)
    for turn in range(contenders.few_rounds):
        for name in contenders.order(names, turn):
            contenders.only()
            contenders.add(START, name, contenders.start(name))
            load = run_wrk(
                contenders.get(name).api,
                "log_metric.lua",
                [str(first_number()), *runs[name]],
                contenders.seconds,
                may_be_silent=True,
            )
            contenders.add(FRESH_RATE, name, load.rate)


def measure_memory(contenders: Contenders) -> None:
    """Measure the idle memory of each, right after its start and once all have settled.

    No two that share files run at once.
    """
    for names in ((TUNED,), (OURS, REFERENCE)):
        contenders.only()
        for place, name in enumerate(names):
            contenders.only(*names[:place])
            contenders.start(name)
            contenders.add(FRESH_MEMORY, name, pss_mb(contenders.get(name).processes()))
        contenders.settle(*names)
        for name in names:
            contenders.add(MEMORY, name, pss_mb(contenders.get(name).processes()))
