"""The rendered directory works with plain `docker compose`, typed by hand."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checks import healthy
from tests.support.installed import Program
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def program(docker: None, installed: Path, stacks: Path) -> Iterator[Program]:
    program = Program(installed, stacks / "hand" / "stack", "docker")
    program.settings(f"server:\n  port: {free_port()}\n")
    answer = program("render")
    assert answer.code == 0, program.report()
    try:
        yield program
    finally:
        compose(program, "down", "--volumes", "--remove-orphans")


def compose(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", *arguments],
        cwd=program.stack,
        env=program.env,
        capture_output=True,
        text=True,
        check=False,
    )


def up_by_hand(program: Program) -> None:
    """Start the stack with an override of the user's, as far as it does not run so."""
    (program.stack / "compose.override.yml").write_text(
        "services:\n  proxy:\n    labels:\n      team: blue\n"
    )
    done = compose(program, "up", "-d", "--wait")
    assert done.returncode == 0, done.stderr


def call(program: Program, path: str, body: object | None = None) -> dict[str, object]:
    port = next(
        line.split("=")[1]
        for line in (program.stack / ".env").read_text().splitlines()
        if line.startswith("PROVISION_PORT")
    )
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))


def test_up_wait_down_up_by_hand_keeps_the_data(program: Program) -> None:
    started = compose(program, "up", "-d", "--wait")
    assert started.returncode == 0, started.stderr
    created = call(program, "/api/2.0/mlflow/experiments/create", {"name": "by hand"})
    assert compose(program, "down").returncode == 0
    again = compose(program, "up", "-d", "--wait")
    assert again.returncode == 0, again.stderr
    found = call(program, "/api/2.0/mlflow/experiments/get-by-name?experiment_name=by%20hand")["experiment"]
    assert isinstance(found, dict)
    assert found["experiment_id"] == created["experiment_id"]


def test_the_override_file_is_the_users_and_is_honoured(program: Program) -> None:
    up_by_hand(program)
    container = compose(program, "ps", "-q", "proxy").stdout.strip()
    labels = json.loads(
        subprocess.run(["docker", "inspect", container], capture_output=True, check=True).stdout
    )[0]["Config"]["Labels"]
    assert labels["team"] == "blue"


def test_provision_takes_a_stack_over_that_was_started_by_hand(program: Program) -> None:
    up_by_hand(program)
    answer = program.up("--no-link")
    assert [
        step
        for step in answer.data["steps"]
        if step["verb"] in {"created", "changed"} and step["subject"] == "postgres"
    ] == []
    assert all(check["ok"] for check in answer.data["checks"])
    assert (program.stack / "compose.override.yml").read_text().count("team: blue") == 1


def test_compose_accepts_the_rendered_file(program: Program) -> None:
    assert compose(program, "config", "-q").returncode == 0


def test_after_a_restart_of_every_container_the_stack_heals_itself(program: Program) -> None:
    up_by_hand(program)
    program.up("--no-link")
    assert compose(program, "restart").returncode == 0
    healthy(program)
