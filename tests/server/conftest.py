"""Stacks for the tests of the server: one for each runtime that all share, and new ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUNTIMES
from tests.server.deployed import Deployed, unique
from tests.support.installed import DATA, Program
from tests.support.ports import free_port

# Read when mlflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def stack_of(request: pytest.FixtureRequest, installed: Path) -> Iterator[Deployed]:
    """A running stack with its default settings: Docker with MinIO, embedded with a local artifact store."""
    if request.param == "docker":
        request.getfixturevalue("docker")
    DATA.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder = Path(tempfile.mkdtemp(dir=DATA, prefix="t-"))
    folder.chmod(0o755)
    program = Program(installed, folder / "stack", request.param)
    try:
        with program.running(f"server:\n  port: {free_port()}\n") as answer:
            yield Deployed(program, answer.data["tracking_uri"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=RUNTIMES)
def deployed(request: pytest.FixtureRequest, installed: Path) -> Iterator[Deployed]:
    """The stack that the tests share."""
    yield from stack_of(request, installed)


@pytest.fixture(scope="module", params=RUNTIMES)
def untouched(request: pytest.FixtureRequest, installed: Path) -> Iterator[Deployed]:
    """A stack that no other test has written to."""
    yield from stack_of(request, installed)


@pytest.fixture
def client(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MLflow's client of the stack, which the fluent functions use too."""
    import mlflow

    for name in [name for name in os.environ if name.startswith("MLFLOW_") and name != "MLFLOW_DISABLE_TELEMETRY"]:
        monkeypatch.delenv(name)
    mlflow.set_tracking_uri(deployed.uri)
    mlflow.set_registry_uri(deployed.uri)
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_registry_uri(None)
    mlflow.set_tracking_uri(None)


@pytest.fixture
def experiment(client: Any) -> str:
    """The id of a new experiment, which is the active one."""
    import mlflow

    return str(mlflow.set_experiment(unique("experiment")).experiment_id)
