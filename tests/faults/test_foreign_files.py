"""Files of somebody else are neither overwritten nor obeyed."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import new_stack
from tests.support.checks import containers, nothing_changed, refused
from tests.support.installed import Program

THEIRS = "services:\n  web:\n    image: nginx\n"


@pytest.fixture
def program(docker: None, installed: Path, place: Path) -> Iterator[Program]:
    with new_stack(installed, place, "docker") as program:
        yield program


@pytest.mark.parametrize("name", ["docker-compose.yml", "Dockerfile", ".env", "deploy/caddy/Caddyfile"])
def test_a_file_that_is_not_ours_is_refused_and_untouched(program: Program, name: str) -> None:
    path = program.stack / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(THEIRS)
    with nothing_changed(program.stack):
        for command in (
            ["up", "--runtime", "docker", "--no-link"],
            ["up", "--runtime", "docker", "--dry-run"],
            ["render"],
        ):
            error = refused(
                program(*command), 7, f"{name} is there and was not made by provision", "directory of its own"
            )
            assert error["left_as"] == "nothing was changed"
            assert error["where"] == str(path)
    assert path.read_text() == THEIRS
    assert containers(program.stack) == []


def test_a_compose_file_under_its_newer_name_is_refused_too(program: Program) -> None:
    """Compose prefers compose.yaml: it would start theirs under our name."""
    for name in ("compose.yaml", "compose.yml"):
        path = program.stack / name
        path.write_text(THEIRS)
        with nothing_changed(program.stack):
            refused(
                program("up", "--runtime", "docker", "--no-link"),
                7,
                f"{name} is there and was not made by provision",
            )
        path.unlink()


def test_settings_upwards_of_another_user_are_refused(
    program: Program, root: None, tester: pwd.struct_passwd
) -> None:
    below = program.stack / "work/here"
    below.mkdir(parents=True)
    os.chown(program.stack / "provision.yml", tester.pw_uid, tester.pw_gid)
    with nothing_changed(program.stack):
        for command in ("up", "status", "down", "erase"):
            done = program.text(command, "--output", "text", cwd=below)
            assert done.returncode == 4, done
            assert f"{program.stack / 'provision.yml'} belongs to another user" in done.stderr
            assert f"--stack {program.stack}" in done.stderr
    assert program("up", "--dry-run", "--no-link").code == 0
