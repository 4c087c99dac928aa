"""Rows about growth: ours with 100,000 runs in its database beside ours with ten, in turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.asking import Asked, compare
from bench.contenders import OURS_FEW, OURS_MANY, Contenders
from bench.reads import getting, searching_newest
from bench.rows import Goal, Row
from bench.writes import creating_runs, logging_batch, logging_metric

COUNTS = {OURS_FEW: 10, OURS_MANY: 100_000}
# Both have so many to find, so that the answers are of one size.
NEWEST = 10
ACTIONS: dict[str, Callable[[Contenders, str], Asked]] = {
    "log-metric": logging_metric,
    "log-batch of 100 metrics": logging_batch,
    "get run": lambda contenders, name: getting(contenders, name, COUNTS[name]),
    "search by start time, 10 found": lambda contenders, name: searching_newest(
        contenders, name, COUNTS[name], NEWEST
    ),
    # The last: after it both have more runs.
    "create-run": creating_runs,
}


def measure_many_runs(contenders: Contenders) -> None:
    """Measure what a user waits for most, with many runs and with few, each in a stack of its own."""
    contenders.only(*COUNTS)
    for name, count in COUNTS.items():
        getting(contenders, name, count)
    for action, ask in ACTIONS.items():
        row = Row(
            f"ours: {action}, with 100,000 runs against 10",
            "requests/s",
            Goal("at least", 0.8),
            OURS_FEW,
            OURS_MANY,
        )
        compare(contenders, row, tuple(COUNTS), partial(ask, contenders))
