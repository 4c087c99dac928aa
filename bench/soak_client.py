"""What a soak client does, over and over, with MLflow's own client: run, metrics, batch, artifact, search."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARTIFACT_BYTES = 200_000
METRICS = 50
KEPT_ERRORS = 20


@dataclass
class Counts:
    """How many of each call ended well, and what went wrong."""

    runs: int = 0
    metrics: int = 0
    batches: int = 0
    artifacts_up: int = 0
    artifacts_down: int = 0
    searches: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Add the other's counts."""
        for name in ("runs", "metrics", "batches", "artifacts_up", "artifacts_down", "searches", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.errors = (self.errors + other.errors)[:KEPT_ERRORS]


def work(url: str, end: float, clients: int, number: int) -> Counts:
    """Run that many clients, each a thread, until the end (seconds of wall clock); return what they did."""
    # A call that had to be tried again is a failed call here.
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    from mlflow.tracking import MlflowClient

    experiment = MlflowClient(tracking_uri=url).create_experiment(f"soak-{number}-{time.time_ns()}")
    total = Counts()
    with ThreadPoolExecutor(clients) as pool:
        for counts in pool.map(lambda _: _one_client(url, experiment, end), range(clients)):
            total.add(counts)
    return total


def _one_client(url: str, experiment: str, end: float) -> Counts:
    from mlflow.tracking import MlflowClient

    client, counts = MlflowClient(tracking_uri=url), Counts()
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as folder:
        source = Path(folder) / "payload.bin"
        source.write_bytes(os.urandom(ARTIFACT_BYTES))
        while time.time() < end:
            try:
                _one_run(client, url, experiment, source, counts)
            except Exception as error:  # any failure is a result
                counts.failed += 1
                counts.errors = [*counts.errors, f"{type(error).__name__}: {error}"[:300]][:KEPT_ERRORS]
    return counts


def _one_run(client: Any, url: str, experiment: str, source: Path, counts: Counts) -> None:
    """Log a training run as people do; raise RuntimeError when what comes back is not what was sent."""
    from mlflow.artifacts import download_artifacts
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment).info.run_id
    counts.runs += 1
    for step in range(5):
        client.log_metric(run, "loss", 1 / (step + 1), step=step)
        counts.metrics += 1
    now = time.time_ns() // 1_000_000
    metrics = [Metric(f"metric-{place}", place / 7, now, 0) for place in range(METRICS)]
    client.log_batch(run, metrics=metrics, params=[Param("alpha", "0.1"), Param("depth", "7")])
    counts.batches += 1
    client.log_artifact(run, str(source))
    counts.artifacts_up += 1
    with tempfile.TemporaryDirectory(dir=source.parent) as back:
        got = download_artifacts(run_id=run, artifact_path=source.name, dst_path=back, tracking_uri=url)
        if Path(got).read_bytes() != source.read_bytes():
            raise RuntimeError(f"run {run}: other bytes came back")
    counts.artifacts_down += 1
    client.set_terminated(run)
    found = client.search_runs([experiment], "metrics.loss < 0.5", max_results=20)
    counts.searches += 1
    if not found or len(client.get_run(run).data.metrics) != METRICS + 1:
        raise RuntimeError(f"run {run}: what was logged is not found")
