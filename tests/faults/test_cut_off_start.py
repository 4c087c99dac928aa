"""A first start that ended while PostgreSQL's container made its data directory.

With what the official image's entrypoint does then.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import new_stack
from tests.support.checks import eventually
from tests.support.installed import Program
from tests.support.ports import free_port

DATA = "/var/lib/postgresql/18/docker"
# Half of what `initdb` writes, and then a slow disk, in a shell as process 1.
SLOW = f"mkdir -p {DATA}/base; echo 18 >{DATA}/PG_VERSION; sleep 600"
GRACE = 60


@pytest.fixture
def program(docker: None, installed: Path, place: Path) -> Iterator[Program]:
    with new_stack(installed, place, "docker") as program:
        program.settings(f"server:\n  auth: basic\n  port: {free_port()}\n")
        yield program


def in_postgres(program: Program, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "exec", program.container("postgres"), *argv], capture_output=True, text=True, check=False
    )


def begins(program: Program) -> bool:
    try:
        return in_postgres(program, "cat", f"{DATA}/PG_VERSION").stdout == "18\n"
    except (FileNotFoundError, KeyError):
        return False


def cut_off(program: Program) -> None:
    """An `up` that is killed while the data directory is made."""
    override = program.stack / "compose.override.yml"
    override.write_text(json.dumps({"services": {"postgres": {"entrypoint": ["/bin/sh", "-c", SLOW]}}}))
    process = program.start("up", "--runtime", "docker", "--no-link")
    try:
        eventually(lambda: begins(program), 300, "PostgreSQL's data directory begins")
    finally:
        process.kill()
        process.communicate()
    override.unlink()


def test_it_is_stopped_at_once_and_the_next_up_begins_anew(program: Program) -> None:
    cut_off(program)
    started = time.monotonic()
    assert program("down").code == 0
    assert time.monotonic() - started < GRACE / 2, "the signal to stop would be waited for"
    ready = program.up("--no-link")
    (aside,) = [
        step["detail"]
        for step in ready.data["steps"]
        if (step["verb"], step["subject"]) == ("moved", "postgres")
    ]
    assert f"{DATA}.unfinished-" in aside
    kept = in_postgres(program, "sh", "-c", f"cat {DATA}.unfinished-*/PG_VERSION")
    assert kept.stdout == "18\n", "nothing was deleted"
    assert all(check["ok"] for check in ready.data["checks"])
    log = program("logs", "postgres", "--lines", "1000").data["logs"]["postgres"]
    assert [line for line in log.splitlines() if "ERROR" in line] == []
    # Who comes before it is ready, or before bootstrap has made the role, is told so, and does not come at
    # once again.
    assert len([line for line in log.splitlines() if "FATAL" in line]) < 10


def test_one_that_was_not_even_stopped_begins_anew_as_well(program: Program) -> None:
    cut_off(program)
    subprocess.run(["docker", "kill", program.container("postgres")], check=True, capture_output=True)
    assert ("moved", "postgres") in program.up("--no-link").verbs


def test_data_that_was_ever_in_use_is_never_moved(program: Program) -> None:
    program.up("--no-link")
    # As somebody's own rules would look.
    assert in_postgres(program, "sed", "-i", "/^host all all all/d", f"{DATA}/pg_hba.conf").returncode == 0
    before = in_postgres(program, "ls", "-A", f"{DATA}/..").stdout
    assert program("down").code == 0
    # As in a fresh checkout: nobody remembers that it has worked.
    (program.stack / "state.json").unlink()
    refused = program("up", "--runtime", "docker", "--no-link")
    assert refused.code == 6
    assert ("moved", "postgres") not in refused.verbs
    assert "no pg_hba.conf entry" in refused.error["why"]
    assert in_postgres(program, "ls", "-A", f"{DATA}/..").stdout == before
