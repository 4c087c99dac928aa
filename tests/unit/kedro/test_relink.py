"""Projects that have an address of before are named, and linked anew when the user says yes."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.actions.relink import relink
from provisioner.kedro.link_plan import Credentials
from provisioner.model.secret import Secret
from provisioner.model.settings_text import parse_settings
from provisioner.model.state import State
from provisioner.output import Recorder
from provisioner.stack.context import StackContext
from provisioner.system.host import LocalHost
from tests.support.link_project import LOCAL, LOGIN, OURS, URI, answering, do_link, make_project, snapshot

NEW = "http://127.0.0.1:5001"


def made(tmp_path: Path, settings: str = "") -> StackContext:
    """A stack that was brought up, with an admin's password."""
    directory = tmp_path / "stack"
    (directory / "secrets").mkdir(parents=True)
    (directory / "secrets/mlflow_admin_password").write_text(LOGIN.password.reveal())
    return StackContext(
        directory,
        "--stack",
        LocalHost(),
        parse_settings(settings),
        State(identity="0123", runtime="embedded", port=5001),
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", {"conf/base/": "", "conf/local/": ""})


def warnings(recorder: Recorder) -> list[str]:
    return [warning.text for warning in recorder.warnings]


@pytest.mark.parametrize("answer", [None, False])
def test_it_is_named_and_nothing_changes_without_a_yes(
    tmp_path: Path, project: Path, answer: bool | None
) -> None:
    context, recorder = made(tmp_path), Recorder()
    do_link(project, stack=str(context.source))
    before = snapshot(project)
    ask = None if answer is None else lambda _: False
    assert relink(context, [], ask, recorder) == []
    assert warnings(recorder) == [
        f"it is linked to {URI}, where this stack was before: `provision link {project}`"
    ]
    assert snapshot(project) == before


def test_with_a_yes_it_is_linked_anew_and_can_be_unlinked(tmp_path: Path, project: Path) -> None:
    asked: list[str] = []
    context = made(tmp_path)
    do_link(project, stack=str(context.source))
    assert relink(context, [], answering(True, asked), Recorder()) == [project]
    assert asked == [f"Link {project} to {NEW}?"]
    assert (project / LOCAL).read_text() == OURS.replace(URI, NEW)
    # It has the address now: nothing more to say.
    recorder = Recorder()
    assert relink(context, [], lambda _: True, recorder) == []
    assert recorder.steps == []


def test_projects_of_other_stacks_and_those_linked_just_now_are_left_alone(
    tmp_path: Path, project: Path
) -> None:
    context, recorder = made(tmp_path), Recorder()
    do_link(project, stack="/somewhere/else")
    assert relink(context, [], lambda _: True, recorder) == []
    do_link(project, stack=str(context.source))
    assert relink(context, [project], lambda _: True, recorder) == []
    assert recorder.steps == []


def test_the_admins_login_stays_the_admins_and_anothers_is_not_replaced(
    tmp_path: Path, project: Path
) -> None:
    context = made(tmp_path, "server: {auth: basic}\n")
    do_link(project, credentials=LOGIN, stack=str(context.source))
    assert relink(context, [], lambda _: True, Recorder()) == [project]
    login = (project / "conf/local/credentials.yml").read_text()
    assert "admin" in login
    do_link(project, credentials=Credentials("ana", Secret("a password of ana's")), stack=str(context.source))
    before, recorder = snapshot(project), Recorder()
    assert relink(context, [], lambda _: True, recorder) == []
    assert warnings(recorder) == [
        f"it is linked to {URI}, where this stack was before: `provision link {project} --user NAME`"
    ]
    assert snapshot(project) == before


def test_one_that_cannot_be_changed_is_said_and_the_next_one_is(tmp_path: Path, project: Path) -> None:
    context, recorder = made(tmp_path), Recorder()
    other = make_project(tmp_path / "another", {"conf/base/": "", "conf/local/": ""})
    for one in (project, other):
        do_link(one, stack=str(context.source))
    (other / LOCAL).write_text("server: [")
    assert relink(context, [], lambda _: True, recorder) == [project]
    assert any("mlflow.yml" in warning.text for warning in recorder.warnings if warning.subject == str(other))
