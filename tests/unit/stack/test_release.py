"""A stack and a program of two releases: what the program sees of the stack, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import provisioner
from provisioner.actions.render import render
from provisioner.actions.up import _decide
from provisioner.assets import mlflow_version
from provisioner.errors import Drift, OtherRelease, PreflightError
from provisioner.model.release import Release
from provisioner.model.settings_text import parse_settings
from provisioner.model.state import State
from provisioner.output import Recorder
from provisioner.stack.context import STATE_FILE, StackContext
from provisioner.stack.directory import put_files
from provisioner.stack.find import read_stack
from provisioner.stack.release import refuse_changed_settings, this_release
from provisioner.system.host import LocalHost

SETTINGS = "# Ours.\nserver:\n  workers: 3\n  allowed_hosts: [a]\n  port:\n"


def made_by(directory: Path, provision: str, mlflow: str, settings: str = SETTINGS) -> StackContext:
    """A stack with the files and the state of an `up`, said to be of that release."""
    (directory / "provision.yml").write_text(settings)
    # Of one that was made nobody asks whether it can be.
    (directory / STATE_FILE).write_bytes(State(project="mlflow-abc123", runtime="embedded", port=5001).text())
    change = _decide(read_stack(directory, "", LocalHost()), "embedded", Recorder())
    put_files(LocalHost(), directory, change.files)
    (directory / "data/postgres").mkdir(parents=True)
    (directory / "secrets").mkdir()
    for spec in change.missing:
        (directory / "secrets" / spec.name).write_text("s")
    state = change.state.with_(made_by=provision, mlflow=mlflow, checked=dict(change.desired))
    (directory / STATE_FILE).write_bytes(state.text())
    return read_stack(directory, "", LocalHost())


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (Release("0.9.0", "3.17.2"), Release("0.10.0", "3.17.2")),
        (Release("1.0.0", "3.9.1"), Release("1.0.0", "3.17.2")),
        (Release("1.0.0", "3.17.2"), Release("1.0.1", "3.9.1")),
    ],
)
def test_the_program_decides_which_release_is_newer_then_its_mlflow(older: Release, newer: Release) -> None:
    assert newer.is_newer_than(older)
    assert not older.is_newer_than(newer)
    assert not newer.is_newer_than(newer)


def test_an_up_notes_the_release_that_it_is_of(tmp_path: Path) -> None:
    context = made_by(tmp_path, provisioner.__version__, mlflow_version())
    assert context.other_release is None
    assert context.recipe is None
    assert context.state.settings == {"server.workers": 3, "server.allowed_hosts": ["a"]}
    assert [service.name for service in context.state.services] == [
        "postgres",
        "bootstrap",
        "mlflow",
        "proxy",
    ]
    assert set(context.state.recipe) == set(context.runtime.files())
    again = _decide(context, "embedded", Recorder())
    assert again.state == context.state
    assert not again.files


def test_a_state_that_names_no_release_is_of_this_one(tmp_path: Path) -> None:
    context = made_by(tmp_path, "", "")
    assert context.other_release is None
    assert (again := _decide(context, "embedded", Recorder()).state).made_by == provisioner.__version__
    assert again.mlflow == mlflow_version()


def test_of_another_release_nothing_is_decided_anew(tmp_path: Path) -> None:
    context = made_by(tmp_path, "0.0.9", "3.16.1")
    assert context.other_release == Release("0.0.9", "3.16.1")
    assert not context.may_choose_port
    change = _decide(context, "embedded", Recorder())
    assert change.state == context.state.with_(port=change.context.port)
    assert not change.files
    assert not change.missing


def test_the_services_and_secrets_are_those_that_the_stack_was_made_with(tmp_path: Path) -> None:
    context = made_by(tmp_path, "0.0.9", "3.16.1")
    fewer = context.with_state(services=context.state.services[:2], secrets=("postgres_password",))
    assert [service.name for service in fewer.model.services] == ["postgres", "bootstrap"]
    assert fewer.model.services == context.state.services[:2]
    assert [spec.name for spec in fewer.model.secrets] == ["postgres_password"]
    ours = fewer.with_state(made_by=provisioner.__version__, mlflow=mlflow_version())
    assert len(ours.model.services) > 2, "of this release they are what it gives"


CHANGES = {
    "server: {workers: 4, allowed_hosts: [a]}": "server.workers: 4, the stack was made with 3",
    "server: {allowed_hosts: [a]}": "server.workers: nothing, the stack was made with 3",
    "server: {workers: 3, allowed_hosts: [a, b]}": (
        "server.allowed_hosts: ['a', 'b'], the stack was made with ['a']"
    ),
    "server: {workers: 3, allowed_hosts: [a]}\nname: other": "name: other, the stack was made with nothing",
}


@pytest.mark.parametrize("text", CHANGES)
def test_a_changed_setting_is_refused_by_name_with_what_moves_the_stack(tmp_path: Path, text: str) -> None:
    context = made_by(tmp_path, "0.0.9", "3.16.1")
    with pytest.raises(
        OtherRelease, match=r"of provision 0\.0\.9 with MLflow 3\.16\.1 have changed"
    ) as raised:
        refuse_changed_settings(context.state, parse_settings(text))
    assert raised.value.why == CHANGES[text]
    assert raised.value.hint == (
        "put the old values back, or change it with provision 0.0.9 with MLflow 3.16.1, which made it; "
        f"`provision upgrade`, which is still to come, will move it to {this_release()}"
    )


@pytest.mark.parametrize("text", [SETTINGS, "server: {allowed_hosts: [a], workers: 3}\nbuild:\n"])
def test_other_words_for_the_same_settings_are_no_change(tmp_path: Path, text: str) -> None:
    refuse_changed_settings(made_by(tmp_path, "0.0.9", "3.16.1").state, parse_settings(text))


def test_a_stack_of_this_release_takes_what_changed(tmp_path: Path) -> None:
    context = made_by(tmp_path, provisioner.__version__, mlflow_version())
    refuse_changed_settings(context.state, parse_settings("server: {workers: 9}"))


def test_rendering_over_another_releases_files_is_refused_and_comparing_is_not(tmp_path: Path) -> None:
    made_by(tmp_path, "0.0.9", "3.16.1")
    with pytest.raises(OtherRelease, match="are not rendered by this one"):
        render(tmp_path, False, Recorder())
    assert "as the settings give it" in render(tmp_path, True, Recorder()).lines[0]


TOLD = {
    "0.0.9": (
        "with MLflow 3.16.1, and used as it is; `provision upgrade`, which is still to come, will move it to"
    ),
    "99.0": "with MLflow 3.16.1, newer than this program; it is used as it is",
}


@pytest.mark.parametrize("provision", TOLD)
def test_every_command_says_which_release_the_stack_is_of(tmp_path: Path, provision: str) -> None:
    said = Recorder()
    made_by(tmp_path, provision, "3.16.1").announce(said)
    assert said.notes["release"].startswith(f"the stack is of provision {provision} {TOLD[provision]}")


def test_what_a_newer_release_made_is_changed_by_that_release(tmp_path: Path) -> None:
    context = made_by(tmp_path, "99.0", "9.9.9")
    with pytest.raises(OtherRelease) as raised:
        refuse_changed_settings(context.state, parse_settings(""))
    assert "install provision 99.0 with MLflow 9.9.9" in raised.value.hint


def test_of_two_releases_of_one_version_mlflows_tells_which_is_meant(tmp_path: Path) -> None:
    context = made_by(tmp_path, provisioner.__version__, "99.1.1")
    with pytest.raises(OtherRelease) as raised:
        refuse_changed_settings(context.state, parse_settings(""))
    assert f"install provision {provisioner.__version__} with MLflow 99.1.1" in raised.value.hint
    (tmp_path / "deploy" / "caddy" / "Caddyfile").write_text("")
    with pytest.raises(PreflightError) as unusable:
        context.runtime.files()
    assert f"by provision {provisioner.__version__} with MLflow 99.1.1 renders" in unusable.value.hint


def test_what_is_compared_after_a_move_names_what_works(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    made_by(tmp_path / "old", "0.0.9", "3.16.1")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(Drift, match="other places") as raised:
        render(tmp_path / "new", True, Recorder())
    assert raised.value.hint.startswith("`provision up` writes those")
