"""A service that never gets healthy is named, with its last lines and how things were left."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.checks import healthy, nothing_changed, refused, run_logged, running
from tests.installed import Program


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


@pytest.mark.only("docker")
def test_a_server_that_ends_over_and_over_is_named_with_its_last_words(program: Program) -> None:
    override = program.stack / "compose.override.yml"
    override.write_text("services:\n  mlflow:\n    command: [no-such-role]\n")
    try:
        error = refused(program("up", "--no-link"), 6, "mlflow does not get healthy", "no such role: no-such-role", "provision logs mlflow")
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
