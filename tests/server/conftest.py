"""One stack for each runtime, shared by all tests of the server."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RUNTIMES
from tests.installed import DATA, Program
from tests.s3_server import free_port
from tests.server.deployed import Deployed

# Read when mlflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture(scope="session", params=RUNTIMES)
def deployed(request: pytest.FixtureRequest, installed: Path) -> Iterator[Deployed]:
    """A running stack with its default settings: Docker with MinIO, embedded with a local artifact store."""
    if request.param == "docker":
        request.getfixturevalue("docker")
    DATA.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder = Path(tempfile.mkdtemp(dir=DATA, prefix="t-"))
    folder.chmod(0o755)
    program = Program(installed, folder / "stack", request.param)
    program.settings(f"server:\n  port: {free_port()}\n")
    try:
        answer = program.up("--no-link")
        yield Deployed(program, answer.data["tracking_uri"])
    finally:
        program.remove()
        shutil.rmtree(folder, ignore_errors=True)
