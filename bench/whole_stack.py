"""Rows about a whole stack that has everything of its own: its first start, and its memory."""

from __future__ import annotations

import time

from bench.contenders import OURS, Contenders
from bench.load import CONNECTIONS, first_number, make_runs, run_wrk
from bench.memory import pss_mb
from bench.ours import Ours
from bench.rest import Api
from bench.rows import Goal, Row

FIRST_UP = Row(
    "first `provision up`, environment there, own stores: first good answer", "s", Goal("at most", 6, "ours")
)
FRESH = Row("whole stack with its own stores, right after start (PSS)", "MB")
IDLE = "whole stack with its own stores, after a minute (PSS)"
LOADED = "whole stack with its own stores, after a load (PSS)"
MOST = {"embedded": {IDLE: 500, LOADED: 500}, "docker": {IDLE: 700}}
# What writes, and a metric that each of its requests logs a point of.
WRITES = (("log_metric.lua", "loss"), ("log_batch.lua", "metric-1"))


def measure_stack(contenders: Contenders) -> None:
    """Measure one stack with its own stores, alone: its first `up`, its memory before and after a load."""
    contenders.only()
    stack = Ours("stack", contenders.stores, contenders.installed, contenders.runtime, own_stores=True)
    try:
        stack.prepare()
        contenders.add(FIRST_UP, OURS, stack.start())
        started = time.monotonic()
        contenders.add(FRESH, OURS, pss_mb(stack.processes()))
        # A minute after the start, as for the servers.
        time.sleep(max(0.0, started + 60 - time.monotonic()))
        contenders.add(_row(IDLE, contenders.runtime), OURS, pss_mb(stack.processes()))
        load(stack.api, contenders.seconds)
        contenders.add(_row(LOADED, contenders.runtime), OURS, pss_mb(stack.processes()))
    finally:
        stack.remove()


def load(api: Api, seconds: float) -> None:
    """Log metrics and batches to new runs, then search them, for that long each.

    Raise RuntimeError unless what was answered is stored; the API shows it: the database is the stack's own.
    """
    runs = make_runs(api)
    for script, key in WRITES:
        answered = run_wrk(api, script, [str(first_number()), *runs], seconds).requests
        found = sum(
            len(api.get(f"metrics/get-history?run_id={run}&metric_key={key}").get("metrics", []))
            for run in runs
        )
        if not answered <= found <= answered + CONNECTIONS:
            raise RuntimeError(f"{script}: {answered} requests were answered, {found} points are stored")
    experiment = api.get(f"runs/get?run_id={runs[0]}")["run"]["info"]["experiment_id"]
    found = len(api.post("runs/search", {"experiment_ids": [experiment], "max_results": 100})["runs"])
    if found != len(runs):
        raise RuntimeError(f"a search finds {found} of {len(runs)} runs")
    run_wrk(api, "search.lua", [experiment, ""], seconds)


def _row(name: str, runtime: str) -> Row:
    most = MOST[runtime].get(name)
    return Row(name, "MB", Goal("at most", most, "ours") if most else None)
