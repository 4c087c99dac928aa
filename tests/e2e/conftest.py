"""One team's server, and one stack deployed to it, for all tests of this folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installed import DATA
from tests.support.teamserver import ADMIN, Team, TeamServer, make_server_image, program_of, team_server
from tests.support.terminal import typed


@pytest.fixture(scope="session")
def server(docker: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team_server(tmp_path_factory.mktemp("admin")) as made:
        yield made


@pytest.fixture(scope="session")
def team(installed: Path, server: TeamServer) -> Iterator[Team]:
    """A deployed stack; every test leaves it healthy."""
    DATA.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder = Path(tempfile.mkdtemp(dir=DATA, prefix="team-"))
    program = program_of(installed, server, folder / "stack")
    program.settings()
    server.load(make_server_image(program))
    (folder / "team-mlflow").mkdir()
    look = typed(f"provision deploy {server.destination} --dry-run", folder / "team-mlflow", program.env)
    made = Team(server, program, look.replace(str(folder), f"/home/{ADMIN}"))
    made.deploy(server.destination)
    yield made
    shutil.rmtree(folder, ignore_errors=True)
