"""Many points of one metric by COPY: the rows that MLflow's client would have logged one by one."""

from __future__ import annotations

import contextlib
import io
import time

from bench.loaded_runs import COPIES
from bench.ours import Ours
from bench.reference import Reference
from bench.stores import Postgres

KEY = "loss"
FIRST_TIME = 1_700_000_000_000


def value(step: int) -> float:
    """Return the metric's value at a step, which no form of a number rounds."""
    return step / 8


def load(postgres: Postgres, contender: Ours | Reference, runs: int, points: int) -> list[str]:
    """Make new runs with so many points each; return their ids."""
    api, name = contender.api, f"points-{time.time_ns()}"
    experiment = api.post("experiments/create", {"name": name})["experiment_id"]
    body = {"experiment_id": experiment, "start_time": FIRST_TIME}
    made: list[str] = [api.post("runs/create", body)["run"]["info"]["run_id"] for _ in range(runs)]
    with (
        contextlib.closing(postgres.connect(contender.database)) as connection,
        connection.cursor() as cursor,
    ):
        for run in made:
            lines = [_line(run, step) for step in range(points)]
            cursor.copy_expert(COPIES["metrics"], io.StringIO("".join(lines)))
            cursor.copy_expert(COPIES["latest_metrics"], io.StringIO(lines[-1]))
        cursor.execute("VACUUM ANALYZE metrics")
    return made


def _line(run: str, step: int) -> str:
    return f"{KEY}\t{value(step)}\t{FIRST_TIME + 1_000 * step}\t{run}\t{step}\tf\n"
