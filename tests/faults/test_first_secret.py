"""The user's database: its password is kept once it worked, its address is read as SQLAlchemy reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import new_stack
from tests.support.checks import refused
from tests.support.embedded import Postgres, start_postgres
from tests.support.installed import Program
from tests.support.ports import free_port

ROLE, DATABASE, RIGHT = "ana@corp", "team data", "right: 100% $HOME 'x'"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A database with names that an address has to encode."""
    for server in start_postgres():
        quoted = RIGHT.replace("'", "''")
        server.query(f"CREATE ROLE \"{ROLE}\" LOGIN PASSWORD '{quoted}'")
        server.query(f'CREATE DATABASE "{DATABASE}" OWNER "{ROLE}"')
        yield server


@pytest.fixture
def theirs(installed: Path, stacks: Path, postgres: Postgres) -> Iterator[Program]:
    """A stack on that database, never brought up."""
    with new_stack(installed, stacks / "theirs", "embedded") as program:
        uri = f"postgresql+psycopg2://ana%40corp@127.0.0.1:{postgres.port}/team%20data"
        program.settings(
            f"backend_store:\n  kind: external\n  uri: {uri}\nserver:\n  port: {free_port()}\n  auth: basic\n"
        )
        yield program


def test_a_first_password_that_was_wrong_is_replaced_and_one_that_worked_is_kept(theirs: Program) -> None:
    typo, right, other = (
        theirs.changed(variables={"PGPASSWORD": value}) for value in ("typo", RIGHT, "swordfish")
    )
    file = theirs.stack / "secrets/backend_store_password"
    for _ in range(2):
        answer = typo("up", "--runtime", "embedded", "--no-link")
        error = refused(
            answer,
            6,
            "wrong password for ana@corp in team data",
            "secrets/backend_store_password",
            "PGPASSWORD",
        )
        assert "backup" not in error["why"]
    assert ("would make", "backend_store_password") in right("up", "--dry-run").verbs
    answer = right.up("--no-link")
    assert "secrets/backend_store_password from PGPASSWORD" in str(answer.data["steps"])
    assert file.read_text() == RIGHT
    assert theirs("status").code == 0
    answer = other.up("--no-link")
    assert [verb for verb, _ in answer.verbs] == ["kept", "unchanged"]
    assert f"{file}, which has worked; PGPASSWORD has another value" in str(answer.data["steps"])
    assert file.read_text() == RIGHT
    for value in ("typo", "swordfish", RIGHT):
        assert value not in answer.stderr + str(answer.document)
