"""A next step named to the user has what the user typed: the stack, project, address, name and host."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioner.cli import project_commands, stack_commands, user_commands
from provisioner.cli.app import app
from provisioner.cli.next_steps import as_typed, typed_again


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], str]], str]:
    """What is said by a command that was typed like this, and does nothing else."""

    def said(typed: str, say: Callable[[], str]) -> str:
        answers: list[str] = []
        for module in (stack_commands, project_commands, user_commands):
            monkeypatch.setattr(module, "run", lambda *_: answers.append(say()))
        reply = CliRunner().invoke(app, shlex.split(typed)[1:])
        assert reply.exit_code == 0, reply.output
        return answers[0]

    return said


After = Callable[[str, Callable[[], str]], str]


@pytest.mark.parametrize(
    ("typed", "text", "shown"),
    [
        (
            "provision status --stack /srv",
            "`provision up` starts it",
            "`provision up --stack /srv` starts it",
        ),
        ("provision status", "`provision up` starts it", "`provision up` starts it"),
        (
            "provision up --stack 'my stack'",
            "next          provision link",
            "next          provision link --stack 'my stack'",
        ),
        ("provision up --stack a", "the next          provision up", "the next          provision up"),
        (
            "provision up --stack a",
            "`provision logs x` or `provision logs`",
            "`provision logs x --stack a` or `provision logs --stack a`",
        ),
        (
            "provision up --stack a",
            "make another: `provision up --stack DIR`",
            "make another: `provision up --stack DIR`",
        ),
        (
            "provision up --stack a",
            "`provision`, `provision --help`, `docker ps`",
            "`provision`, `provision --help`, `docker ps`",
        ),
        ("provision user passwd ann --stack a", "`provision user list`", "`provision user list --stack a`"),
        ("provision user list --stack a", "`provision user add NAME`", "`provision user add NAME --stack a`"),
        (
            "provision render /srv",
            "`provision up`, `provision render`",
            "`provision up --stack /srv`, `provision render --stack /srv`",
        ),
        ("provision link p --uri http://h --user ann", "`provision doctor`", "`provision doctor p`"),
        (
            "provision link --uri http://h --user a",
            "`provision link --ca-file c`",
            "`provision link --ca-file c --uri http://h --user a`",
        ),
        (
            "provision link --uri http://h --user ann",
            "`provision link --user NAME`",
            "`provision link --user NAME --uri http://h`",
        ),
        (
            "provision link --uri http://h --stack a",
            "`provision user passwd ann`",
            "`provision user passwd ann`",
        ),
        (
            "provision doctor p --stack none",
            "an admin: `provision user grant NAME`",
            "an admin: `provision user grant NAME`",
        ),
        (
            "provision doctor p --stack none",
            "`provision up` starts it",
            "`provision up --stack none` starts it",
        ),
        ("provision link p --dry-run --no-check", "`provision link`", "`provision link p`"),
        ("provision doctor p --python /bin/sh", "`provision link`", "`provision link p --python /bin/sh`"),
        (
            "provision doctor p --stack a",
            "`provision link --uri http://h --user ann`",
            "`provision link --uri http://h --user ann p`",
        ),
        ("provision doctor p", "`provision up` starts it", "`provision up` starts it"),
        (
            "provision deploy ann@h --port 8443",
            "`provision deploy --break-lock`",
            "`provision deploy --break-lock ann@h --port 8443`",
        ),
        (
            "provision deploy ann@h --stack a",
            "`provision deploy bob@h`",
            "`provision deploy bob@h --stack a`",
        ),
        (
            "provision erase --host h --yes --stack a",
            "`provision erase` again",
            "`provision erase --stack a --host h` again",
        ),
        (
            "provision up --runtime embedded --no-link",
            "`provision up` again",
            "`provision up --runtime embedded --no-link` again",
        ),
        (
            "provision up --stack a",
            "an `unclosed 'quote` and `provision logs 'x`",
            "an `unclosed 'quote` and `provision logs 'x`",
        ),
        (
            "provision up --stack a",
            "`provision logs --nothing-such`",
            "`provision logs --nothing-such --stack a`",
        ),
    ],
)
def test_a_command_gets_what_was_typed(
    after: After, typed: str, text: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "my stack"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert after(typed, lambda: as_typed()(text)) == shown


def test_a_stack_that_cannot_even_be_looked_at_leaves_the_step_as_it_is(after: After) -> None:
    nowhere = "x" * 300  # longer than names of files are
    assert after(f"provision init --stack {nowhere}", lambda: as_typed()("`provision up`")) == (
        f"`provision up --stack {nowhere}`"
    )


@pytest.mark.parametrize(
    "typed",
    [
        "provision link 'a project' --uri http://h --dry-run --output json",
        "provision up --project a --project b",
        "provision up --runtime embedded --no-link",
        "provision user grant ann --permission READ --experiment 'x y'",
        "provision status",
    ],
)
def test_a_command_is_typed_again_as_it_was(after: After, typed: str) -> None:
    again = after(typed, lambda: typed_again("x"))
    assert sorted(shlex.split(again)) == sorted(shlex.split(typed))
    assert again.split()[:2] == typed.split()[:2]


def test_outside_of_a_command_nothing_is_added() -> None:
    assert (as_typed()("`provision up` starts it"), typed_again("up")) == (
        "`provision up` starts it",
        "provision up",
    )
