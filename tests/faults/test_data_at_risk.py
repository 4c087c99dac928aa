"""What would cut a user off from data is refused, and says the way out."""

from __future__ import annotations

import pytest

from tests.support.checks import nothing_changed, refused, run_logged, service_not_restarted
from tests.support.installed import TEST_IMAGES, Program


@pytest.mark.parametrize("running", [True, False], ids=["running", "down"])
def test_lost_secrets_are_never_replaced_and_work_when_put_back(program: Program, running: bool) -> None:
    run = run_logged(program("status").data["tracking_uri"])
    if not running:
        assert program("down").code == 0
    secrets, backup = program.stack / "secrets", program.stack / "backup-of-secrets"
    secrets.rename(backup)
    try:
        before = program.services() if running else {}
        with nothing_changed(program.stack):
            error = refused(
                program("up", "--no-link"),
                7,
                "postgres_password",
                "backend_store_password",
                "put the files back",
                "erase",
            )
            assert error["left_as"] == "nothing was changed"
            refused(program("up", "--no-link", "--dry-run"), 7, "secrets are gone")
            refused(program("render"), 7, "secrets are gone")
            refused(program("status"), 7, "secrets are gone", "put the files back")
        assert not secrets.exists()
        assert before == (program.services() if running else {})
    finally:
        backup.rename(secrets)
    program.up("--no-link")
    run.all_there()


def test_one_lost_secret_is_named_alone(program: Program) -> None:
    secret = program.stack / "secrets/backend_store_password"
    backup = program.stack / "backup"
    secret.rename(backup)
    try:
        error = refused(program("up", "--no-link"), 7, "backend_store_password")
        assert "postgres_password" not in error["what"]
        assert not secret.exists()
    finally:
        backup.rename(secret)
    assert [step["verb"] for step in program.up("--no-link").data["steps"]] == ["unchanged"]


def test_settings_that_name_another_store_than_the_data_is_in_are_refused(program: Program) -> None:
    settings = program.stack / "provision.yml"
    right = settings.read_text()
    images = TEST_IMAGES if program.runtime == "docker" else ""
    stores = [
        "artifact_store:\n  kind: s3\n  bucket: elsewhere\n",
        "backend_store:\n  kind: external\n  uri: postgresql+psycopg2://me@db.example.com:5432/mlflow\n",
    ]
    stores += (
        ["artifact_store:\n  kind: local\n", "artifact_store:\n  bucket: another\n"]
        if program.runtime == "docker"
        else []
    )
    with service_not_restarted(program):
        for other in stores:
            settings.write_text(images + other)
            try:
                with nothing_changed(program.stack):
                    error = refused(
                        program("up", "--no-link"),
                        7,
                        "other stores",
                        "put the old values back",
                        "it was made with",
                    )
                assert error["left_as"] == "nothing was changed"
            finally:
                settings.write_text(right)
    assert [step["verb"] for step in program.up("--no-link").data["steps"]] == ["unchanged"]


def test_another_runtime_than_the_data_is_in_is_refused(program: Program) -> None:
    other = "embedded" if program.runtime == "docker" else "docker"
    with service_not_restarted(program), nothing_changed(program.stack):
        error = refused(
            program("up", "--runtime", other, "--no-link"),
            7,
            f"made with the {program.runtime} runtime",
            "leave --runtime out",
        )
    assert error["left_as"] == "nothing was changed"
