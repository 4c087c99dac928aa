"""Rows about the UI: bytes over the wire and seconds, for a first visit and a second one."""

from __future__ import annotations

import time

from bench.contenders import OURS, REFERENCE, Contenders
from bench.rest import Api
from bench.rows import Goal, Row
from tests.support.browser import Visit, open_browser

METRICS, STEPS = 50, 20
PAGES = ("experiments page", "run page with 50 metrics")
VISITS = ("first", "second")


def _row(page: str, visit: str, unit: str) -> Row:
    goal = Goal("at most", 0.25) if (unit, visit) == ("MB", "first") else None
    what = "over the wire" if unit == "MB" else "time"
    return Row(f"UI, {page}, {visit} load, {what}", unit, goal)


def measure_pages(contenders: Contenders) -> None:
    """Measure each contender's pages once, with an empty cache at first.

    Bytes do not vary, and seconds little.
    """
    names = (REFERENCE, OURS)
    contenders.only(*names)
    addresses = {name: _addresses(contenders.get(name).api) for name in names}
    contenders.settle()
    for name in names:
        uri = contenders.get(name).api.url
        for page, (address, shown) in zip(PAGES, addresses[name], strict=True):
            for visit, load in zip(VISITS, _visit_twice(uri, address, shown), strict=True):
                contenders.add(_row(page, visit, "MB"), name, load.size(uri) / 1e6)
                contenders.add(_row(page, visit, "s"), name, load.seconds)


def _visit_twice(uri: str, address: str, shown: str) -> list[Visit]:
    """Load the page twice in one new browser; return both loads.

    Raise RuntimeError when a request failed, AssertionError when the page shows something else.
    """
    with open_browser() as browser:
        loads = []
        for _ in VISITS:
            loads.append(browser.visit(address, lambda text: shown in text))
            # A page may take back what it has asked for.
            failed = [one for one in loads[-1].ours(uri) if one.failure not in {"", "net::ERR_ABORTED"}]
            if failed:
                raise RuntimeError(f"{address}: {failed}")
    return loads


def _addresses(api: Api) -> list[tuple[str, str]]:
    """Make a run with metrics; return both pages' addresses, and a text that each shows when it is whole."""
    name = f"pages-{time.time_ns()}"
    experiment = api.post("experiments/create", {"name": name})["experiment_id"]
    now = time.time_ns() // 1_000_000
    run = api.post(
        "runs/create", {"experiment_id": experiment, "run_name": "with-metrics", "start_time": now}
    )["run"]["info"]["run_id"]
    for step in range(STEPS):
        metrics = [
            {"key": f"metric-{i}", "value": i / (step + 1), "timestamp": now + step, "step": step}
            for i in range(METRICS)
        ]
        api.post("runs/log-batch", {"run_id": run, "metrics": metrics})
    return [
        (f"{api.url}/#/experiments", name),
        (f"{api.url}/#/experiments/{experiment}/runs/{run}", "with-metrics"),
    ]
