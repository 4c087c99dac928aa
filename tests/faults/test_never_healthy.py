"""A service that never gets healthy is named, with its last lines and how things were left."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.checks import healthy, nothing_changed, refused, run_logged, running
from tests.installed import Program
from tests.server.deployed import Peer, Reply


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


def front_door(program: Program) -> Peer:
    return Peer(urlsplit(program("status").data["tracking_uri"]).netloc)


def first_refusal(door: Peer) -> Reply:
    """The first answer that is no 200, asked for until there is one."""
    end = time.monotonic() + 90
    while (answer := door("GET", "/version")).status == 200:
        assert time.monotonic() < end, "the server went on answering"
        time.sleep(0.2)
    return answer


@pytest.mark.only("docker")
def test_a_server_that_ends_over_and_over_is_named_with_its_last_words(program: Program) -> None:
    override = program.stack / "compose.override.yml"
    override.write_text("services:\n  mlflow:\n    command: [no-such-role]\n")
    try:
        with ThreadPoolExecutor(1) as threads:
            told = threads.submit(first_refusal, front_door(program))
            failed = program("up", "--no-link")
            away = told.result(60)
        error = refused(failed, 6, "mlflow does not get healthy", "no such role: no-such-role", "provision logs mlflow")
        # Held for a while first: of a server that only starts anew nobody hears.
        assert (away.status, away.headers["retry-after"]) == (503, "5")
        assert "provision status" in away.document["message"]
        assert error["where"].startswith("service mlflow")
        assert "no data was removed" in error["left_as"]
    finally:
        override.unlink()
    answer = program.up("--no-link")
    assert ("changed", "mlflow") in answer.verbs
    healthy(program)


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
        error = refused(hurried("up", "--no-link"), 6, "did not answer within 2 s", "provision logs mlflow", "PROVISION_START_DEADLINE")
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
