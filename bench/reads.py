"""Rows about reading: runs, searches, histories; an answer is compared with what was loaded before."""

from __future__ import annotations

from urllib.parse import urlencode

from bench import loaded_points, loaded_runs
from bench.asking import Asked, compare
from bench.contenders import OURS, REFERENCE, Contenders
from bench.loaded_runs import FEW_RUNS, MANY_RUNS, Place
from bench.rest import AJAX_API, API
from bench.rows import Goal, Row

BOTH = (REFERENCE, OURS)
RUNS, FEW = 10_000, 400
PAGE = 100
POINTS = 10_000
# A chart of MLflow's page shows ten runs at first, and asks for so many points of each.
CHART_RUNS, CHART_POINTS = 10, 320

SEARCH = Row("search of 10,000 runs, first page of 100", "requests/s", Goal("at least", 10))
SEARCH_FEW = Row("search of 400 runs, first page of 100", "requests/s", Goal("at least", 15))
GET_RUN = Row("get run, of 10,000", "requests/s", Goal("at least", 6))
HISTORY = Row("history of a metric, 10,000 points in one page", "requests/s", Goal("at least", 5))
HISTORY_BULK = Row(
    "history of a metric for a chart, 320 of 10,000 points of each of 10 runs",
    "requests/s",
    Goal("at least", 5),
)


def measure_search(contenders: Contenders) -> None:
    """Measure the search for the UI's first page of an experiment of 10,000 runs."""
    compare(contenders, SEARCH, BOTH, lambda name: searching(contenders, name, RUNS), slow=True)


def measure_search_few(contenders: Contenders) -> None:
    """Measure the search for the UI's first page of an experiment of 400 runs."""
    compare(contenders, SEARCH_FEW, BOTH, lambda name: searching(contenders, name, FEW, FEW_RUNS), slow=True)


def measure_get_run(contenders: Contenders) -> None:
    """Measure the reading of single runs of 10,000."""
    compare(contenders, GET_RUN, BOTH, lambda name: getting(contenders, name, RUNS))


def measure_history(contenders: Contenders) -> None:
    """Measure the reading of all points of a metric of a run at once, as MLflow's client does."""
    compare(contenders, HISTORY, BOTH, lambda name: _reading_history(contenders, name), slow=True)


def measure_history_bulk(contenders: Contenders) -> None:
    """Measure what MLflow's page asks for one chart of several runs."""
    compare(contenders, HISTORY_BULK, BOTH, lambda name: _reading_chart(contenders, name), slow=True)


def searching(contenders: Contenders, name: str, count: int, place: Place = MANY_RUNS) -> Asked:
    """Load the runs; return the requests for the first page of them, newest first."""
    return _search(contenders, name, count, place, "", PAGE)


def searching_newest(contenders: Contenders, name: str, count: int, newest: int) -> Asked:
    """Load the runs; return the requests for those that started last, by their time."""
    since = loaded_runs.start_time(count - newest)
    return _search(contenders, name, count, MANY_RUNS, f"attributes.start_time >= {since}", newest)


def getting(contenders: Contenders, name: str, count: int) -> Asked:
    """Load the runs; return the requests that read them one by one."""
    loaded_runs.load(contenders.stores.postgres, contenders.get(name), count)
    wanted = loaded_runs.content(MANY_RUNS, count - 1)
    run = contenders.get(name).api.get(f"runs/get?run_id={wanted[0]}")["run"]
    _expect(name, "a run", loaded_runs.content_of(run), wanted)
    return Asked("get_run.lua", lambda _: [str(count)])


def _search(contenders: Contenders, name: str, count: int, place: Place, only: str, most: int) -> Asked:
    experiment = loaded_runs.load(contenders.stores.postgres, contenders.get(name), count, place)
    order = ["attributes.start_time DESC"]
    body = {"experiment_ids": [experiment], "max_results": PAGE, "filter": only, "order_by": order}
    runs = contenders.get(name).api.post("runs/search", body)["runs"]
    newest = [loaded_runs.content(place, number) for number in reversed(range(max(0, count - most), count))]
    _expect(name, "a search", [loaded_runs.content_of(run) for run in runs], newest)
    return Asked("search.lua", lambda _: [experiment, only])


def _reading_history(contenders: Contenders, name: str) -> Asked:
    contender = contenders.get(name)
    (run,) = loaded_points.load(contenders.stores.postgres, contender, 1, POINTS)
    path = f"metrics/get-history?{urlencode({'run_id': run, 'metric_key': loaded_points.KEY})}"
    points = contender.api.get(path)["metrics"]
    found = sorted((int(point["step"]), point["value"]) for point in points)
    _expect(name, "a history", found, [(step, loaded_points.value(step)) for step in range(POINTS)])
    return Asked("path.lua", lambda _: [f"{API}/{path}"])


def _reading_chart(contenders: Contenders, name: str) -> Asked:
    contender = contenders.get(name)
    runs = loaded_points.load(contenders.stores.postgres, contender, CHART_RUNS, POINTS)
    question = {"run_ids": runs, "metric_key": loaded_points.KEY, "max_results": CHART_POINTS}
    path = f"metrics/get-history-bulk-interval?{urlencode(question, doseq=True)}"
    points = contender.api.ajax(path)["metrics"]
    for run in runs:
        of_run = {int(point["step"]): point["value"] for point in points if point["run_id"] == run}
        right = {step: loaded_points.value(step) for step in of_run}
        seen = (of_run == right, min(of_run, default=None), max(of_run, default=None))
        _expect(name, f"a chart, for {run},", seen, (True, 0, POINTS - 1))
        # Samples of even distance may be one fewer, and the last point is one more.
        if not CHART_POINTS - 1 <= len(of_run) <= CHART_POINTS + 1:
            raise RuntimeError(f"{name} answers {len(of_run)} points of {run} for a chart")
    return Asked("path.lua", lambda _: [f"{AJAX_API}/{path}"])


def _expect(name: str, what: str, seen: object, wanted: object) -> None:
    """Raise RuntimeError unless the answer is the one that was loaded."""
    if seen != wanted:
        raise RuntimeError(f"{name} answers {what} with {str(seen)[:300]}, not {str(wanted)[:300]}")
