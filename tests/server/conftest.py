"""Stacks for the tests of the server: one for each runtime that all share, and new ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.deployed import NO_URI, Deployed, unique
from tests.server.scene import ATTACHMENT, OPEN, SECRET, WITH_LOGIN, Person, Scene
from tests.support.installed import DATA, Program
from tests.support.ports import free_port
from tests.support.scheduling import RUNTIMES
from tests.support.tls_client import basic

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

    for name in [
        name for name in os.environ if name.startswith("MLFLOW_") and name != "MLFLOW_DISABLE_TELEMETRY"
    ]:
        monkeypatch.delenv(name)
    mlflow.set_tracking_uri(deployed.uri)
    mlflow.set_registry_uri(deployed.uri)
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_registry_uri(NO_URI)
    mlflow.set_tracking_uri(NO_URI)


@pytest.fixture
def experiment(client: Any) -> str:
    """The id of a new experiment, which is the active one."""
    import mlflow

    return str(mlflow.set_experiment(unique("experiment")).experiment_id)


@pytest.fixture(scope="session", params=WITH_LOGIN + OPEN)
def scene(request: pytest.FixtureRequest, installed: Path, all_stacks: Path) -> Iterator[Scene]:
    """On Docker artifacts are in S3, embedded in a folder."""
    runtime, login = request.param
    if runtime == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, all_stacks / f"places-{runtime}-{login}" / "stack", runtime)
    with program.running(
        f"server:\n  auth: {'basic' if login else 'none'}\n  port: {free_port()}\n"
    ) as answer:
        stack = Deployed(program, answer.data["tracking_uri"])
        names = {"admin": program.secret("mlflow_admin_password")} if login else {}
        for name in ("ana", "bob") if login else ():
            names[name] = program("user", "add", name, "--generate").data["password"]
        people = {
            name: Person(stack, {"Authorization": basic(name, names[name])} if login else {})
            for name in ("admin", "ana", "bob")
        }
        ana, bob = people["ana"], people["bob"]
        experiment, bobs = ana.experiment(), bob.experiment()
        found = Scene(
            stack,
            login,
            **people,
            experiment=experiment,
            run=ana.run(experiment),
            bobs_experiment=bobs,
            bobs_run=bob.run(bobs),
        )
        for name, content in {
            "secret.txt": SECRET,
            f"attachments/{ATTACHMENT}": SECRET,
            "traces.json": b'{"spans": []}',
        }.items():
            assert ana.put(f"{found.home}/{name}", content).status == 200
        if login:
            granted = program(
                "user", "grant", "bob", "--permission", "NO_PERMISSIONS", "--experiment", experiment
            )
            assert granted.code == 0, program.report()
        yield found
