"""Why Docker cannot be used: an error with `--runtime docker`, the embedded runtime's reason without it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checks import nothing_changed, refused
from tests.support.installed import Program


@pytest.fixture
def program(installed: Path, place: Path) -> Program:
    """A stack that nobody brings up: without test images, since no image is looked for."""
    program = Program(installed, place / "stack", "embedded")
    program.settings()
    return program


def check(program: Program, what: str, *words: str) -> None:
    """The same reason in both forms, and nothing is changed."""
    with nothing_changed(program.stack):
        error = refused(program("up", "--runtime", "docker", "--no-link"), 4, what, *words)
        assert error["left_as"] == "nothing was changed"
        planned = program("up", "--no-link", "--dry-run")
        assert planned.code == 0, planned.document
        assert planned.document["runtime"] == "embedded"
        shown = program.text("up", "--no-link", "--dry-run", "--stack", str(program.stack))
        assert f"runtime    embedded (no Docker: {what})" in shown.stderr


def script(folder: Path, text: str) -> dict[str, str]:
    """A `docker` that answers as an old or incomplete one does, first on PATH."""
    folder.mkdir(exist_ok=True)
    (folder / "docker").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "docker").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_docker_that_is_not_installed(program: Program, place: Path) -> None:
    check(
        program.changed(variables={"PATH": str(place)}),
        "Docker is not installed",
        "install Docker Engine",
        "--runtime embedded",
    )


def test_docker_that_is_stopped(program: Program, docker: None, place: Path) -> None:
    stopped = program.changed(variables={"DOCKER_HOST": f"unix://{place}/docker.sock"})
    check(stopped, "the Docker engine is not running", "start Docker", "docker.sock")


def test_docker_that_this_user_may_not_use(
    program: Program, docker: None, open_environment: Path, tester: pwd.struct_passwd, stacks: Path
) -> None:
    home = stacks / "of-the-tester"
    home.mkdir()
    os.chown(home, tester.pw_uid, tester.pw_gid)
    theirs = program.changed(environment=open_environment, stack=home / "stack", user=tester)
    theirs.settings()
    os.chown(theirs.stack, tester.pw_uid, tester.pw_gid)
    # Root's own plugin of Compose cannot be read by others.
    plugins = Path(tester.pw_dir) / ".docker/cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(TypeError):
        shutil.copy(
            str(shutil.which("docker-compose") or Path.home() / ".docker/cli-plugins/docker-compose"), plugins
        )
    check(theirs, "this user may not use the Docker engine", "permission denied", "group docker")


@pytest.mark.parametrize(
    ("engine", "compose", "what"),
    [
        ("19.03.15", "2.29.1", "Docker engine 19.03.15 is too old"),
        ("20.10.24", "2.5.0", "Docker Compose 2.5.0 is too old"),
        ("27.3.1", "v2.17.2-desktop", "Docker Compose v2.17.2-desktop is too old"),
    ],
)
def test_docker_that_is_too_old(program: Program, place: Path, engine: str, compose: str, what: str) -> None:
    versions = script(place / "bin", f'case "$1" in version) echo {engine};; compose) echo {compose};; esac')
    check(program.changed(variables=versions), what, "or later is needed", "update")


def test_docker_without_its_compose_plugin(program: Program, place: Path) -> None:
    message = "docker: 'compose' is not a docker command.\\nSee 'docker --help'"
    without = script(
        place / "bin", f'case "$1" in version) echo 27.3.1;; *) printf "{message}\\n" >&2; exit 1;; esac'
    )
    check(program.changed(variables=without), "Docker's Compose plugin is missing", "docker-compose-plugin")


@pytest.mark.parametrize("address", ["ssh://ops@team.example.com", "tcp://10.0.0.5:2376"])
def test_docker_on_another_machine(program: Program, docker: None, address: str) -> None:
    remote = program.changed(variables={"DOCKER_HOST": address})
    check(remote, "the current Docker context is on another machine", address, "docker context use default")


@pytest.fixture
def snap(root: None, docker: None) -> Iterator[str]:
    """Docker where snap puts it."""
    real, folder = shutil.which("docker"), Path("/snap/bin")
    missing = [path for path in (folder, folder.parent) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "docker"
    made = not link.exists()
    if made:
        link.symlink_to(str(real))
    try:
        yield str(folder)
    finally:
        if made:
            link.unlink()
        for path in missing:
            path.rmdir()


def test_docker_from_snap_with_a_hidden_folder(program: Program, snap: str, place: Path) -> None:
    hidden = program.changed(stack=place / ".local/stack", variables={"PATH": f"{snap}:{os.environ['PATH']}"})
    hidden.settings()
    check(hidden, "Docker from snap cannot read hidden folders", ".local is hidden", "--stack")
