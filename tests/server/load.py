"""Clients that keep working while something happens to the server: MLflow's own, with default settings."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.server.deployed import Deployed, eventually

CLIENTS = 6
# The last is all that MLflow says of a file of a run, whatever the reason.
CUT_OFF = ("Connection broken", "Response ended prematurely", "please ensure that the path is correct")


def rate(call: Callable[[int], int], clients: int, seconds: float) -> float:
    """Return the calls a second that so many clients are answered.

    `call` is handed its client's number, and gives the status.
    """
    end = time.monotonic() + seconds

    def work(number: int) -> int:
        count = 0
        while time.monotonic() < end:
            assert call(number) == 200
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(work, range(clients))) / seconds


@dataclass
class Load:
    """What the clients have done so far: acknowledged calls by client, and calls that failed."""

    acknowledged: list[int]
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0

    def goes_on(self, calls: int = 10, deadline: float = 150) -> None:
        """Returns once every client has been answered so many times more; fails when one has failed."""
        wanted = [number + calls for number in self.acknowledged]

        def done() -> bool:
            assert self.failed == [], self.failed
            return all(number >= goal for number, goal in zip(self.acknowledged, wanted, strict=True))

        eventually(done, "every client is answered", self, deadline)


@contextmanager
def _clients(work: Callable[[int, int], None], count: int, pause: float = 0) -> Iterator[Load]:
    load, end = Load([0] * count), threading.Event()

    def client(number: int) -> None:
        while not end.is_set() and not load.failed:
            started = time.monotonic()
            try:
                work(number, load.acknowledged[number])
            except Exception as error:
                load.failed.append(f"client {number}: {type(error).__name__}: {error}")
            else:
                load.acknowledged[number] += 1
                load.longest = max(load.longest, time.monotonic() - started)
                end.wait(pause)

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        load.goes_on()
        yield load
    finally:
        end.set()
        for thread in threads:
            thread.join(150)


@contextmanager
def logging_metrics(deployed: Deployed, count: int = CLIENTS, pause: float = 0) -> Iterator[Load]:
    """Clients that each log a metric to a run of its own, step by step.

    Afterwards every acknowledged step must be there. `pause` is in seconds between two calls of one client.
    """
    client = mlflow_client(deployed)
    experiment = client.create_experiment(f"load {time.time_ns()}")
    runs = [client.create_run(experiment).info.run_id for _ in range(count)]

    def log(number: int, step: int) -> None:
        client.log_metric(runs[number], "loss", step / 2, timestamp=1_500_000_000_000 + step, step=step)

    with _clients(log, count, pause) as load:
        yield load
    assert load.failed == [], load.failed
    for number, run in enumerate(runs):
        there = {metric.step: metric.value for metric in client.get_metric_history(run, "loss")}
        lost = [step for step in range(load.acknowledged[number]) if there.get(step) != step / 2]
        assert lost == [], f"acknowledged but not there: client {number}, steps {lost}"
    assert sum(load.acknowledged) > 0


@contextmanager
def logging_batches(deployed: Deployed, count: int) -> Iterator[Load]:
    """Clients that each log batches of metrics and one tag to a run of its own."""
    from mlflow.entities import Metric, RunTag

    client = mlflow_client(deployed)
    experiment = client.create_experiment(f"batches {time.time_ns()}")
    runs = [client.create_run(experiment).info.run_id for _ in range(count)]

    def log(number: int, step: int) -> None:
        metrics = [Metric(f"metric-{i}", step / (i + 1), 1_500_000_000_000 + step, step) for i in range(20)]
        client.log_batch(runs[number], metrics, tags=[RunTag("step", str(step))])

    with _clients(log, count) as load:
        yield load
    assert load.failed == [], load.failed


@contextmanager
def moving_artifacts(
    deployed: Deployed, count: int = 3, *, killed: bool = False, pause: float = 0
) -> Iterator[Load]:
    """Clients that each upload a file and download it again; every file comes back as it was.

    With `killed`, one that a worker's end has cut off is asked for once more:
    MLflow's client retries no answer that has begun.
    """
    from mlflow.exceptions import MlflowException

    client = mlflow_client(deployed)
    experiment = client.create_experiment(f"artifacts {time.time_ns()}")
    run = client.create_run(experiment).info.run_id
    with tempfile.TemporaryDirectory() as folder:

        def download(name: str) -> Path:
            try:
                return Path(client.download_artifacts(run, name, folder))
            except MlflowException as error:
                if not killed or not any(sign in str(error) for sign in CUT_OFF):
                    raise
                return Path(client.download_artifacts(run, name, folder))

        def move(number: int, step: int) -> None:
            text = f"client {number} step {step}\n" * 5000
            file = Path(folder) / f"{number}-{step}.txt"
            file.write_text(text)
            client.log_artifact(run, str(file))
            file.unlink()
            assert download(file.name).read_text() == text

        with _clients(move, count, pause) as load:
            yield load
    assert load.failed == [], load.failed


def mlflow_client(deployed: Deployed) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=deployed.uri, registry_uri=deployed.uri)
