"""The name of a Kedro environment: what can be none, and one that the project does not have yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.actions.doctor import what_helps
from provisioner.errors import LinkRefused
from provisioner.kedro.diagnosis import project_report
from provisioner.kedro.project import find_project
from provisioner.output import Recorder
from tests.support.link_project import SHARED, URI, do_link, forget_variables, make_project, snapshot

NO_NAMES = ["", ".", "..", "../x", "../../../outside", "/tmp/x", "a/b", "a\\b", "a\nb", "a\0b", "\x7f"]


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_variables(monkeypatch, tmp_path / "state")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "demo", {"conf/base/": "", "conf/local/": "", "conf/prod/": ""})


@pytest.mark.parametrize("uri", [URI, SHARED])
@pytest.mark.parametrize("env", NO_NAMES)
def test_a_name_that_no_folder_of_the_configuration_can_have_is_refused(
    project: Path, env: str, uri: str
) -> None:
    before = snapshot(project)
    with pytest.raises(LinkRefused, match="no name of a Kedro environment") as caught:
        do_link(project, uri, env=env)
    assert caught.value.where == "--env"
    assert caught.value.hint == "name a folder of conf: the project has base, local, prod"
    assert snapshot(project) == before
    assert not (project.parent / "outside").exists()


def test_a_variable_with_no_name_is_refused_by_link_and_doctor(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEDRO_ENV", "../x")
    for act in (lambda: do_link(project, SHARED), lambda: project_report(project, what_helps)):
        with pytest.raises(LinkRefused, match="no name of a Kedro environment") as caught:
            act()
        assert caught.value.where == "environment variable KEDRO_ENV"


def test_what_settings_py_names_is_the_projects_own_way(tmp_path: Path) -> None:
    code = "CONFIG_LOADER_ARGS = {'base_env': '', 'default_run_env': 'team/me'}\n"
    project = make_project(tmp_path / "demo", {"conf/": ""}, code)
    assert do_link(project).changed == ("conf/team/me/mlflow.yml",)
    assert find_project(project).folder("") == project.resolve() / "conf"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("prodd", ["prodd is a new one: the project has base, local, prod"]),
        ("prod", []),
        ("base", []),
        (None, []),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_an_environment_that_is_new_is_said_and_linked(
    project: Path, env: str | None, said: list[str], dry_run: bool
) -> None:
    recorder = Recorder()
    assert do_link(project, recorder=recorder, env=env, dry_run=dry_run).changed
    assert [one.text for one in recorder.warnings if one.subject == "environment"] == said


def test_the_environment_of_a_plain_run_is_no_new_one_where_git_kept_no_folder(tmp_path: Path) -> None:
    project, recorder = make_project(tmp_path / "demo", {"conf/base/": ""}), Recorder()
    do_link(project, recorder=recorder, env="local")
    assert not recorder.warnings
