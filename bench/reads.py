"""Rows about reading: runs and searches; an answer is compared with what was loaded before."""

from __future__ import annotations

from bench import loaded_runs
from bench.asking import Asked, compare
from bench.contenders import OURS, REFERENCE, Contenders
from bench.loaded_runs import MANY_RUNS, Place
from bench.rows import Goal, Row

BOTH = (REFERENCE, OURS)
RUNS = 10_000
PAGE = 100

SEARCH = Row("search of 10,000 runs, first page of 100", "requests/s", Goal("at least", 10))
GET_RUN = Row("get run, of 10,000", "requests/s", Goal("at least", 6))


def measure_search(contenders: Contenders) -> None:
    """Measure the search for the UI's first page of an experiment of 10,000 runs."""
    compare(contenders, SEARCH, BOTH, lambda name: searching(contenders, name, RUNS), slow=True)


def measure_get_run(contenders: Contenders) -> None:
    """Measure the reading of single runs of 10,000."""
    compare(contenders, GET_RUN, BOTH, lambda name: getting(contenders, name, RUNS))


def searching(contenders: Contenders, name: str, count: int, place: Place = MANY_RUNS) -> Asked:
    """Load the runs; return the requests for the first page of them, newest first."""
    return _search(contenders, name, count, place, "", PAGE)


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


def _expect(name: str, what: str, seen: object, wanted: object) -> None:
    """Raise RuntimeError unless the answer is the one that was loaded."""
    if seen != wanted:
        raise RuntimeError(f"{name} answers {what} with {str(seen)[:300]}, not {str(wanted)[:300]}")
