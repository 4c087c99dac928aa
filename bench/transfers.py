"""Rows about one large artifact through the server with MLflow's client, and straight to S3 beside it."""

from __future__ import annotations

import filecmp
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bench.contenders import OURS, REFERENCE, Contenders
from bench.rows import Goal, Row
from bench.stores import Stores

SIZE_MB = 300
DIRECT = "direct S3"
UP = Row("artifact of 300 MB up", "MB/s", Goal("at least", 1), beside=(DIRECT,))
DOWN = Row("artifact of 300 MB down", "MB/s", Goal("at least", 1), beside=(DIRECT,))

# Sends the file, or fetches it to the other path.
Transfer = tuple[Callable[[Path], object], Callable[[Path], object]]


def measure_artifact(contenders: Contenders) -> None:
    """Measure uploads and downloads in turns; raise RuntimeError when other bytes come back."""
    contenders.only(REFERENCE, OURS)
    source, back = contenders.stores.folder / "payload.bin", contenders.stores.folder / "back"
    with source.open("wb") as file:
        for _ in range(SIZE_MB):
            file.write(os.urandom(1_000_000))
    transfers = {name: _through(contenders, name) for name in (REFERENCE, OURS)} | {
        DIRECT: _direct(contenders.stores)
    }
    contenders.settle()
    for turn in range(contenders.few_rounds):
        for name in contenders.order(tuple(transfers), turn):
            back.mkdir()
            up, down = transfers[name]
            contenders.add(UP, name, SIZE_MB / _seconds(up, source))
            contenders.add(DOWN, name, SIZE_MB / _seconds(down, back))
            if not filecmp.cmp(source, back / source.name, shallow=False):
                raise RuntimeError(f"{name} gave other bytes back")
            shutil.rmtree(back)
    source.unlink()


def _seconds(action: Callable[[Path], object], path: Path) -> float:
    started = time.monotonic()
    action(path)
    return time.monotonic() - started


def _through(contenders: Contenders, name: str) -> Transfer:
    from mlflow.artifacts import download_artifacts
    from mlflow.tracking import MlflowClient

    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    uri = contenders.get(name).api.url
    client = MlflowClient(tracking_uri=uri)
    run = client.create_run(client.create_experiment(f"transfers-{time.time_ns()}")).info.run_id

    def up(source: Path) -> None:
        client.log_artifact(run, str(source))

    def down(back: Path) -> object:
        return download_artifacts(
            run_id=run, artifact_path="payload.bin", dst_path=str(back), tracking_uri=uri
        )

    return up, down


def _direct(stores: Stores) -> Transfer:
    s3 = stores.s3.client()
    s3.create_bucket(Bucket="direct")

    def up(source: Path) -> object:
        return s3.upload_file(str(source), "direct", source.name)

    def down(back: Path) -> object:
        return s3.download_file("direct", "payload.bin", str(back / "payload.bin"))

    return up, down
