"""A stack that an older release made, in the hands of this one: it is used as it stands."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner import __version__
from provisioner.assets import mlflow_version
from tests.support.checks import (
    LoggedRun,
    eventually,
    has_ended,
    healthy,
    nothing_changed,
    refused,
    run_logged,
    running,
    service_not_restarted,
)
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.releases import OLDER_MLFLOW, older_release

# Of this test's own: what is built from it is built anew once it is another image.
BASE = "provision-test/python-of-releases:1"


def make_base(layer: str) -> None:
    """Make the base image of the server's anew: what was built from the former one is of no use for it."""
    text = f"FROM provision-test/python:3.13\nLABEL provision.test={layer}\n"
    subprocess.run(["docker", "build", "--quiet", "--tag", BASE, "-"], input=text, text=True, check=True)


@pytest.fixture(params=["docker", "embedded"])
def older(request: pytest.FixtureRequest, stacks: Path) -> Iterator[Program]:
    """The older release's program, with a stack that it brought up."""
    runtime = str(request.param)
    if runtime == "docker":
        request.getfixturevalue("docker")
        make_base("first")
    program = Program(older_release(), stacks / f"older-{runtime}" / "stack", runtime)
    program.settings(f"server:\n  port: {free_port()}\n")
    text = (program.stack / "provision.yml").read_text()
    (program.stack / "provision.yml").write_text(text.replace("provision-test/python:3.13", BASE))
    try:
        program.up("--no-link")
        built = built_for(program)
        yield program
    finally:
        program.remove()
    if runtime == "docker":
        subprocess.run(["docker", "image", "rm", "--force", built, BASE], check=True)


@pytest.fixture
def newer(older: Program, installed: Path) -> Program:
    """This release's program, on the same stack."""
    return older.changed(environment=installed)


def built_for(program: Program) -> str:
    """What the stack's server runs in: the image's reference, or the environment's directory."""
    if program.runtime == "embedded":
        return str(json.loads((program.stack / "data/runtime.json").read_text())["environment"])
    argv = ["docker", "inspect", "--format", "{{.Config.Image}}", program.container("mlflow")]
    return subprocess.check_output(argv, text=True).strip()


def forget(built: str, runtime: str) -> None:
    """Remove what the stack's server runs in, and what that could be made from without any work."""
    if runtime == "embedded":
        shutil.rmtree(built)
        return
    subprocess.run(["docker", "image", "rm", "--force", built], check=True)
    make_base("second")


def served(program: Program, run: LoggedRun) -> tuple[dict[str, str], str]:
    """The versions of a stack that runs well and has all that was logged, and what its server runs in."""
    run.all_there()
    status = program("status")
    assert status.code == 0, program.report()
    assert status.data["release"]["mlflow"] == OLDER_MLFLOW
    # With it came the same program of the server, which was not written for it.
    assert OLDER_MLFLOW in status.data["tracking_store"]["reason"]
    versions: dict[str, str] = status.data["versions"]
    return versions, built_for(program)


def test_a_stack_of_an_older_release_is_used_as_it_stands(older: Program, newer: Program) -> None:
    run = run_logged(older("status").data["tracking_uri"])
    before = served(older, run)
    assert before[0]["mlflow"] == OLDER_MLFLOW
    assert "newer_release" not in older("status").data

    with nothing_changed(older.stack):
        with service_not_restarted(newer):
            said = newer.text("up", "--no-link", "--stack", str(newer.stack)).stderr
        this = f"provision {__version__} with MLflow {mlflow_version()}"
        moves = f"`provision upgrade`, which is still to come, will move it to {this}"
        assert f"with MLflow {OLDER_MLFLOW}, and used as it is; {moves}" in said
        assert newer("status").data["newer_release"]["mlflow"] == mlflow_version()
        assert served(newer, run) == before

        assert newer("down").code == 0
        newer.up("--no-link")
        assert served(newer, run) == before

        processes = running(newer)
        processes["mlflow"].kill()
        eventually(lambda: has_ended(processes["mlflow"]), 10, "the end")
        healthy(newer)
        assert served(newer, run) == before

        assert newer("down").code == 0
        forget(before[1], newer.runtime)
        newer.up("--no-link")
        assert served(newer, run) == before

    with service_not_restarted(newer):
        settings = (newer.stack / "provision.yml").read_text()
        (newer.stack / "provision.yml").write_text(f"{settings}  workers: 2\n")
        with nothing_changed(newer.stack):
            refused(newer("up", "--no-link"), 3, "server.workers: 2", "`provision upgrade`", OLDER_MLFLOW)
            refused(newer("render"), 3, "`provision upgrade`", OLDER_MLFLOW)
        (newer.stack / "provision.yml").write_text(f"# A remark changes nothing.\n{settings}")
        newer.up("--no-link")
    assert served(newer, run) == before
