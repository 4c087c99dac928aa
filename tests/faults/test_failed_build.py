"""An image build that fails or is broken off leaves no half state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import new_stack
from tests.support.checks import containers, refused, run_logged
from tests.support.installed import TEST_IMAGES, Program
from tests.support.ports import free_port
from tests.support.s3_server import KEY, SECRET


@pytest.fixture
def program(docker: None, installed: Path, place: Path) -> Iterator[Program]:
    with new_stack(installed, place, "docker") as program:
        yield program


BROKEN = {
    "its base image": (
        TEST_IMAGES.replace("provision-test/python:3.13", "provision-test/no-such-python:1"),
        (4, "the image provision-test/no-such-python:1 could not be fetched", "docker pull"),
    ),
    # On another base image, since what was built from the usual one is there already.
    "its packages": (
        TEST_IMAGES.replace("provision-test/python:3.13", "provision-test/caddy:2.11")
        + "build:\n  index_url: http://127.0.0.1:1/simple\n",
        (5, "docker failed with exit code", "build"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_after_a_failed_build_nothing_runs_and_the_next_up_is_as_the_first(
    program: Program, case: str
) -> None:
    server = f"server:\n  port: {free_port()}\n"
    broken, (code, *words) = BROKEN[case]
    (program.stack / "provision.yml").write_text(broken + server)
    error = refused(program("up", "--runtime", "docker", "--no-link"), code, *words)
    assert error["left_as"] == "files and secrets are written, what had started runs on; no data was removed"
    assert containers(program.stack) == []
    program.settings(server)
    ready = program.up("--no-link")
    assert ("created", "postgres") in ready.verbs
    run_logged(ready.data["tracking_uri"]).all_there()


def test_secrets_that_only_the_user_has_are_asked_for_before_anything_is_written(program: Program) -> None:
    program.settings("artifact_store:\n  kind: s3\n  endpoint_url: http://127.0.0.1:1\n")
    before = sorted(program.stack.iterdir())
    for runtime in ("docker", "embedded"):
        error = refused(
            program("up", "--runtime", runtime, "--no-link"),
            4,
            "not given yet",
            "AWS_ACCESS_KEY_ID",
            "s3_secret_access_key",
        )
        assert error["left_as"] == "nothing was changed"
        assert sorted({*program.stack.iterdir()} - {program.stack / ".lock"}) == before
    given = program.changed(variables={"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    assert given("up", "--runtime", "docker", "--no-link", "--dry-run").code == 0
