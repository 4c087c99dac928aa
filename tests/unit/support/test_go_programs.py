"""The tests' Go programs: built once, and again when what is kept is no program."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import go_programs

GO = """#!/bin/sh
echo built >>"$(dirname "$0")/builds"
printf '#!/bin/sh\\n' >"$GOBIN/pebble"
chmod +x "$GOBIN/pebble"
"""


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `go` that builds at once, and the file that has a line for each time."""
    monkeypatch.setattr(go_programs, "CACHE", tmp_path)
    monkeypatch.setattr(go_programs, "LOCK", tmp_path / "go/.lock")
    go = tmp_path / "bin/go"
    go.parent.mkdir()
    go.write_text(GO)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:{os.environ['PATH']}")
    return go.with_name("builds")


def nothing(program: Path) -> None:
    pass


def empty(program: Path) -> None:
    program.write_bytes(b"")


def no_program(program: Path) -> None:
    program.chmod(0o644)


def a_rest(program: Path) -> None:
    """Of a build that was killed."""
    program.unlink()
    (program.parent / "tmpabc").mkdir()


@pytest.mark.parametrize(("damage", "times"), [(nothing, 1), (empty, 2), (no_program, 2), (a_rest, 2)])
def test_what_is_kept_is_used_while_it_is_whole(
    builds: Path, damage: Callable[[Path], None], times: int
) -> None:
    (program,) = go_programs.build("pebble")
    damage(program)
    assert go_programs.build("pebble") == [program]
    assert len(builds.read_text().splitlines()) == times
    assert [path.name for path in program.parent.iterdir()] == ["pebble"]
    assert go_programs.go_program("pebble") == program
