"""A service that never gets healthy is named, with its last lines and how things were left."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.server.deployed import Peer, Reply
from tests.support.checks import (
    eventually,
    healthy,
    nothing_changed,
    refused,
    run_logged,
    running,
    service_not_restarted,
)
from tests.support.installed import Program
from tests.support.outage import raw_client
from tests.support.ports import free_port


def test_a_password_that_the_database_refuses_is_named_and_mends_when_put_back(program: Program) -> None:
    run = run_logged(program("status").data["tracking_uri"])
    secret = program.stack / "secrets/backend_store_password"
    right = secret.read_bytes()
    assert program("down").code == 0
    write(secret, b"X" * 32)
    try:
        answer = program("up", "--no-link")
        error = refused(answer, 6, "bootstrap", "wrong password for mlflow", "put the old secret files back")
        assert "no data was removed" in error["left_as"]
        assert "X" * 32 not in answer.stderr + str(answer.document)
        assert program("status").code == 6
    finally:
        write(secret, right)
    program.up("--no-link")
    run.all_there()


def write(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(0o444)


def proxy(program: Program) -> Peer:
    return Peer(urlsplit(program("status").data["tracking_uri"]).netloc)


def first_refusal(door: Peer) -> Reply:
    """The first answer that is no 200, asked for until there is one."""
    end = time.monotonic() + 90
    while (answer := door("GET", "/version")).status == 200:
        assert time.monotonic() < end, "the server went on answering"
        time.sleep(0.2)
    return answer


# One runtime: half a minute is the proxy's, whatever runs it.
@pytest.mark.only("embedded")
def test_a_call_that_no_server_takes_is_told_so_after_a_while(program: Program) -> None:
    door = proxy(program)
    memory = json.loads((program.stack / "data/runtime.json").read_text())
    # As an operator ends it, so that nothing starts it again.
    control = [f"{memory['environment']}/bin/supervisorctl", "-s", f"unix://{memory['run']}/supervisor.sock"]
    subprocess.run([*control, "stop", "mlflow:*"], check=True, capture_output=True, timeout=120)
    try:
        away = first_refusal(door)
        # Held for a while first: of a server that only starts anew nobody hears.
        assert (away.status, away.headers["retry-after"]) == (503, "5")
        assert "provision status" in away.document["message"]
    finally:
        answer = program.up("--no-link")
    assert ("started", "mlflow") in answer.verbs
    healthy(program)


@pytest.mark.only("docker")
def test_a_new_server_that_ends_over_and_over_is_named_while_the_one_before_serves(program: Program) -> None:
    override = program.stack / "compose.override.yml"
    override.write_text("services:\n  mlflow:\n    command: [no-such-role]\n")
    try:
        with service_not_restarted(program), raw_client(program("status").data["tracking_uri"]) as seen:
            failed = program("up", "--no-link")
        error = refused(failed, 6, "the new tracking server does not get ready", "no such role: no-such-role")
        assert error["where"].startswith("service mlflow")
        assert "the server before serves; no data was removed" in error["left_as"]
        assert (seen.refused, seen.failed) == ([], [])
    finally:
        override.unlink()
    program.up("--no-link")
    healthy(program)


def test_a_server_that_starts_is_not_called_ill(program: Program) -> None:
    processes = running(program)
    database = [processes["postgres"], *processes["postgres"].children(recursive=True)]
    for process in database:
        process.suspend()
    try:
        processes["mlflow"].kill()

        def said() -> list[str]:
            return [
                error["hint"]
                for error in program("status").document["errors"]
                if "the stack is starting" in error["what"]
            ]

        assert "provision status" in eventually(said, 40, "it says so")[0]
    finally:
        for process in database:
            process.resume()
    healthy(program)


@pytest.mark.only("docker")
def test_a_server_that_the_kernel_ends_for_memory_is_named_with_its_limit_and_the_setting(
    fresh: Program,
) -> None:
    settings = f"server:\n  port: {free_port()}\nresources:\n  mlflow:\n    memory: "
    fresh.settings(settings + "64m\n")
    refused(
        fresh("up", "--no-link"),
        6,
        "the kernel has ended mlflow for want of memory: it may have 64 MB",
        "resources.mlflow.memory",
    )
    fresh.settings(settings + "700m\n")
    fresh.up("--no-link")
    # One process of several: the server goes on without it.
    hog = ["docker", "exec", fresh.container("mlflow"), "/opt/venv/bin/python", "-c", "bytearray(1 << 30)"]
    assert subprocess.run(hog, capture_output=True, check=False).returncode == 137
    row = next(row for row in fresh("status").data["services"] if row["name"] == "mlflow")
    assert (row["state"] in {"running", "starting"}, row["limit"], row["killed"] >= 1) == (
        True,
        700 << 20,
        True,
    )
    assert 0 < row["memory"] < 700 << 20
    shown = fresh.text("status", "--stack", str(fresh.stack))
    assert (
        "the kernel has ended mlflow for want of memory: it may have 700 MB; raise resources.mlflow.memory"
        in shown.stdout
    )


@pytest.mark.only("docker")
def test_a_service_whose_program_is_missing_is_named(program: Program) -> None:
    override = program.stack / "compose.override.yml"
    override.write_text("services:\n  proxy:\n    command: [no-such-program]\n")
    try:
        error = refused(program("up", "--no-link"), 6, "proxy", "no-such-program")
        assert error["where"].startswith("service proxy")
    finally:
        override.unlink()
    program.up("--no-link")
    healthy(program)


def test_a_server_that_hangs_is_named_at_the_deadline_with_its_last_lines(program: Program) -> None:
    server = running(program)["mlflow"]
    hung = [server, *server.children(recursive=True)]
    hurried = program.changed(variables={"PROVISION_START_DEADLINE": "2"})
    said = program("logs", "mlflow", "--lines", "1").data
    for process in hung:
        process.suspend()
    try:
        error = refused(
            hurried("up", "--no-link"),
            6,
            "did not answer within 2 s",
            "provision logs mlflow",
            "PROVISION_START_DEADLINE",
        )
        assert error["where"].startswith("service mlflow: ")
        assert len(error["why"].splitlines()) > 3, (error, said)
        assert "no data was removed" in error["left_as"]
        assert hung[-1].status() == psutil.STATUS_STOPPED
    finally:
        for process in hung:
            process.resume()
    healthy(program)


def test_a_deadline_that_is_no_number_is_refused_before_anything_is_done(program: Program) -> None:
    with nothing_changed(program.stack / "deploy"):
        for text in ("soon", "0", "-3", "nan"):
            wrong = program.changed(variables={"PROVISION_START_DEADLINE": text})
            refused(wrong("up", "--no-link"), 4, "PROVISION_START_DEADLINE", repr(text))
