"""Pieces of a running stack that somebody removed or changed: `up` heals, or says why it must not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.checks import (
    eventually,
    healthy,
    kill_all,
    processes_in,
    refused,
    run_logged,
    service_not_restarted,
)
from tests.support.installed import Program


@pytest.mark.only("docker")
def test_up_heals_what_docker_compose_down_ended(program: Program) -> None:
    run = run_logged(program("status").data["tracking_uri"])
    done = subprocess.run(
        ["docker", "compose", "down"],
        cwd=program.stack,
        env=program.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert program.services() == {}
    assert program("status").code == 6
    answer = program.up("--no-link")
    assert {subject for verb, subject in answer.verbs if verb == "created"} >= {
        "postgres",
        "minio",
        "mlflow",
        "proxy",
    }
    run.all_there()


@pytest.mark.only("docker")
@pytest.mark.parametrize("how", ["stop", "kill", "rm -f"])
def test_up_heals_one_service_that_was_ended_by_hand(program: Program, how: str) -> None:
    run = run_logged(program("status").data["tracking_uri"])
    with service_not_restarted(program, "postgres", "minio", "mlflow"):
        subprocess.run(["docker", *how.split(), program.container("proxy")], check=True, capture_output=True)
        answer = program.up("--no-link")
    assert [subject for verb, subject in answer.verbs if verb in {"started", "created"}] == ["proxy"]
    run.all_there()


@pytest.mark.only("docker")
@pytest.mark.parametrize("service", ["mlflow", "proxy"])
def test_up_heals_a_container_that_lacks_a_network(program: Program, service: str) -> None:
    """As Compose leaves it that was killed between making the container and connecting it.

    To an older engine these are two calls.
    """
    run = run_logged(program("status").data["tracking_uri"])
    network = f"{program.project}_web"
    subprocess.run(
        ["docker", "network", "disconnect", network, program.container(service)],
        check=True,
        capture_output=True,
    )
    status = program("status")
    assert status.code == 6
    assert f"is not in the network {network}" in json.dumps(status.document)
    with service_not_restarted(program, "postgres", "minio"):
        answer = program.up("--no-link")
    assert [subject for verb, subject in answer.verbs if verb in {"started", "created"}] == [service]
    run.all_there()
    healthy(program)


def test_up_heals_rendered_files_that_were_removed(program: Program) -> None:
    shutil.rmtree(program.stack / "deploy")
    (program.stack / "docker-compose.yml").unlink(missing_ok=True)
    program.up("--no-link")
    healthy(program)
    assert program("render", "--check").code == 0


@pytest.mark.only("embedded")
def test_up_heals_a_stack_whose_sockets_were_cleaned_away(program: Program) -> None:
    run = run_logged(program("status").data["tracking_uri"])
    before = processes_in(program.stack)
    sockets = Path(json.loads((program.stack / "data/runtime.json").read_text())["run"])
    shutil.rmtree(sockets)
    status = program("status")
    assert status.code == 6
    assert str(sockets) in json.dumps(status.document)
    program.up("--no-link")
    assert [process for process in before if process.is_running()] == []
    run.all_there()
    healthy(program)


@pytest.mark.only("embedded")
def test_a_stack_that_another_machine_runs_is_refused(program: Program) -> None:
    memory = program.stack / "data/runtime.json"
    right = memory.read_text()
    for_another = json.loads(right) | {"machine": {"name": "node-17", "boot": "another"}}
    memory.write_text(json.dumps(for_another))
    try:
        for command in ("up", "down", "status"):
            error = refused(
                program(command),
                4,
                "runs on the machine node-17",
                "provision down",
                "two servers on the same data",
            )
            assert error["left_as"] == "nothing was changed"
    finally:
        memory.write_text(right)
    assert program("status").code == 0


@pytest.mark.only("embedded")
def test_after_a_reboot_up_starts_everything_anew(program: Program) -> None:
    """The same machine with another boot: process numbers of before mean nothing."""
    run = run_logged(program("status").data["tracking_uri"])
    before = processes_in(program.stack)
    memory = program.stack / "data/runtime.json"
    known = json.loads(memory.read_text())
    kill_all(before)
    eventually(lambda: not [process for process in before if process.is_running()], 30, "everything ended")
    known["machine"]["boot"] = "before"
    memory.write_text(json.dumps(known))
    program.up("--no-link")
    run.all_there()
