"""Many runs by COPY: the rows that MLflow's client would have made one by one."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

from bench.ours import Ours
from bench.reference import Reference
from bench.stores import Postgres

METRICS = ("loss", "accuracy", "f1", "precision", "recall")
PARAMS = ("learning_rate", "batch_size", "epochs", "optimizer", "seed")
BLOCK = 10_000
FIRST_TIME = 1_700_000_000_000
RUN_COLUMNS = (
    "run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, "
    "end_time, source_version"
)
COPIES = {
    "runs": f"COPY runs ({RUN_COLUMNS}, lifecycle_stage, artifact_uri, experiment_id) FROM STDIN",
    "metrics": "COPY metrics (key, value, timestamp, run_uuid, step, is_nan) FROM STDIN",
    "latest_metrics": "COPY latest_metrics (key, value, timestamp, run_uuid, step, is_nan) FROM STDIN",
    "params": "COPY params (key, value, run_uuid) FROM STDIN",
    "tags": "COPY tags (key, value, run_uuid) FROM STDIN",
}


@dataclass(frozen=True)
class Place:
    """An experiment, and the number from which its runs' ids count."""

    experiment: str
    first: int = 0

    def run(self, number: int) -> str:
        """Return the id of a run."""
        return f"{self.first + number:032x}"


MANY_RUNS, FEW_RUNS = Place("many-runs"), Place("few-runs", 1 << 40)

# A run's id, and its metrics, params and tags by key.
Content = tuple[str, dict[str, float], dict[str, str], dict[str, str]]


def load(postgres: Postgres, contender: Ours | Reference, count: int, place: Place = MANY_RUNS) -> str:
    """Load what is missing of that many runs in the place's experiment; return its id.

    Check through the API that they are found; raise RuntimeError when they are not.
    """
    experiment, location = _experiment(contender, place.experiment)
    counted = postgres.query(
        contender.database, f"SELECT count(*) FROM runs WHERE experiment_id = {experiment}"
    )
    present = int(counted[0][0])
    with (
        contextlib.closing(postgres.connect(contender.database)) as connection,
        connection.cursor() as cursor,
    ):
        for start in range(present, count, BLOCK):
            numbers = range(start, min(start + BLOCK, count))
            for table, text in _block(place, numbers, experiment, location).items():
                cursor.copy_expert(COPIES[table], io.StringIO(text))
        if present < count:
            cursor.execute("VACUUM ANALYZE")
    _check(contender, experiment, place, count)
    return experiment


def start_time(number: int) -> int:
    """Return when a loaded run started, in milliseconds; each a minute after the one before."""
    return FIRST_TIME + 60_000 * number


def content(place: Place, number: int) -> Content:
    """Return what a run was loaded with."""
    metrics = {key: (number * 7919 + index) % 1000 / 1000 for index, key in enumerate(METRICS)}
    params = {key: str((number + index) % 32) for index, key in enumerate(PARAMS)}
    return place.run(number), metrics, params, _tags(number)


def content_of(run: dict[str, Any]) -> Content:
    """Return what a run has in an answer of the API."""
    kinds = [
        {each["key"]: each["value"] for each in run["data"][kind]} for kind in ("metrics", "params", "tags")
    ]
    return run["info"]["run_id"], kinds[0], kinds[1], kinds[2]


def _experiment(contender: Ours | Reference, name: str) -> tuple[str, str]:
    try:
        found = contender.api.get(f"experiments/get-by-name?experiment_name={name}")["experiment"]
    except RuntimeError:
        made = contender.api.post("experiments/create", {"name": name})["experiment_id"]
        found = contender.api.get(f"experiments/get?experiment_id={made}")["experiment"]
    return found["experiment_id"], found["artifact_location"]


def _block(place: Place, numbers: range, experiment: str, location: str) -> dict[str, str]:
    lines: dict[str, list[str]] = {table: [] for table in COPIES}
    for number in numbers:
        start = start_time(number)
        run, metrics, params, tags = content(place, number)
        source = ("UNKNOWN", "", "", "ana", "FINISHED", start, start + 45_000, "")
        lines["runs"].append(
            _line(run, f"run-{number}", *source, "active", f"{location}/{run}/artifacts", experiment)
        )
        rows = [_line(key, value, start + 30_000, run, 9, "f") for key, value in metrics.items()]
        lines["metrics"] += rows
        lines["latest_metrics"] += rows
        lines["params"] += [_line(key, value, run) for key, value in params.items()]
        lines["tags"] += [_line(key, value, run) for key, value in tags.items()]
    return {table: "".join(rows) for table, rows in lines.items()}


def _tags(number: int) -> dict[str, str]:
    return {
        "mlflow.runName": f"run-{number}",
        "mlflow.user": "ana",
        "mlflow.source.name": "train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": f"{number:040x}",
    }


def _line(*values: object) -> str:
    return "\t".join(map(str, values)) + "\n"


def _check(contender: Ours | Reference, experiment: str, place: Place, count: int) -> None:
    """Raise RuntimeError unless the API gives the newest run first, with all that it was loaded with."""
    body = {"experiment_ids": [experiment], "max_results": 1, "order_by": ["attributes.start_time DESC"]}
    seen = content_of(contender.api.post("runs/search", body)["runs"][0])
    wanted = content(place, count - 1)
    if seen != wanted:
        raise RuntimeError(
            f"{contender.name} answers {seen} for the newest of {count} loaded runs, not {wanted}"
        )
