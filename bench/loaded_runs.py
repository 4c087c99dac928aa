"""Many runs by COPY: the rows that MLflow's client would have made one by one."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

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


def load(postgres: Postgres, contender: Ours | Reference, count: int) -> str:
    """Load what is missing of that many runs in the one experiment; return its id.

    Check through the API that they are found; raise RuntimeError when they are not.
    """
    experiment, location = _experiment(contender)
    present = int(
        postgres.query(contender.database, f"SELECT count(*) FROM runs WHERE experiment_id = {experiment}")[
            0
        ][0]
    )
    with (
        contextlib.closing(postgres.connect(contender.database)) as connection,
        connection.cursor() as cursor,
    ):
        for start in range(present, count, BLOCK):
            for table, text in _block(range(start, min(start + BLOCK, count)), experiment, location).items():
                cursor.copy_expert(COPIES[table], io.StringIO(text))
        if present < count:
            cursor.execute("VACUUM ANALYZE")
    _check(contender, experiment, count)
    return experiment


def _experiment(contender: Ours | Reference) -> tuple[str, str]:
    name = "many-runs"
    try:
        found = contender.api.get(f"experiments/get-by-name?experiment_name={name}")["experiment"]
    except RuntimeError:
        made = contender.api.post("experiments/create", {"name": name})["experiment_id"]
        found = contender.api.get(f"experiments/get?experiment_id={made}")["experiment"]
    return found["experiment_id"], found["artifact_location"]


def _block(numbers: range, experiment: str, location: str) -> dict[str, str]:
    lines: dict[str, list[str]] = {table: [] for table in COPIES}
    for number in numbers:
        run, start = f"{number:032x}", FIRST_TIME + 60_000 * number
        source = ("UNKNOWN", "", "", "ana", "FINISHED", start, start + 45_000, "")
        lines["runs"].append(
            _line(run, f"run-{number}", *source, "active", f"{location}/{run}/artifacts", experiment)
        )
        for place, key in enumerate(METRICS):
            row = _line(key, (number * 7919 + place) % 1000 / 1000, start + 30_000, run, 9, "f")
            lines["metrics"].append(row)
            lines["latest_metrics"].append(row)
        lines["params"] += [_line(key, (number + place) % 32, run) for place, key in enumerate(PARAMS)]
        lines["tags"] += [_line(key, value, run) for key, value in _tags(number)]
    return {table: "".join(rows) for table, rows in lines.items()}


def _tags(number: int) -> Iterator[tuple[str, str]]:
    yield "mlflow.runName", f"run-{number}"
    yield "mlflow.user", "ana"
    yield "mlflow.source.name", "train.py"
    yield "mlflow.source.type", "LOCAL"
    yield "mlflow.source.git.commit", f"{number:040x}"


def _line(*values: object) -> str:
    return "\t".join(map(str, values)) + "\n"


def _check(contender: Ours | Reference, experiment: str, count: int) -> None:
    """Raise RuntimeError unless the API gives the newest run first, with all its metrics, params and tags."""
    body = {"experiment_ids": [experiment], "max_results": 1, "order_by": ["attributes.start_time DESC"]}
    run = contender.api.post("runs/search", body)["runs"][0]
    data = run["data"]
    seen = (run["info"]["run_id"], len(data["metrics"]), len(data["params"]), len(data["tags"]))
    wanted = (f"{count - 1:032x}", len(METRICS), len(PARAMS), 5)
    if seen != wanted:
        raise RuntimeError(
            f"{contender.name} answers {seen} for the newest of {count} loaded runs, not {wanted}"
        )
