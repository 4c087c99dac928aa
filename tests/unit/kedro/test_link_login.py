"""The login that `link` keeps outside a project: in MLflow's own file, or in the shell that asks for it."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.credentials import _read_mlflow_creds_from_file

from provisioner.errors import LinkRefused
from provisioner.kedro.link import Credentials
from provisioner.kedro.login import _values, _with_values, home_login, shell_login
from provisioner.kedro.unlink import unlink
from provisioner.model.secret import Secret
from provisioner.output import Recorder
from tests.support.link_project import BASE, LOGIN, SHARED, do_link, make_project, snapshot

PASSWORD = LOGIN.password.reveal()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "demo", {"conf/base/": "", "conf/local/": ""})


def file_of(home: Path, content: str | None = None) -> Path:
    path = home / ".mlflow/credentials"
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return path


def test_mlflow_reads_the_login_from_a_file_that_nobody_else_can_read(home: Path, project: Path) -> None:
    before = snapshot(project)
    report = do_link(project, SHARED, home=LOGIN)
    assert _read_mlflow_creds_from_file() == (LOGIN.username, PASSWORD)
    assert stat.S_IMODE(file_of(home).stat().st_mode) == 0o600
    assert set(report.changed) == {str(file_of(home)), BASE}
    # Nothing in the project names a login.
    assert "credentials" not in (project / BASE).read_text()
    assert do_link(project, SHARED, home=LOGIN).changed == ()
    unlink(project, Recorder())
    assert snapshot(project) == before
    assert not (home / ".mlflow").exists()


@pytest.mark.parametrize(
    "content",
    [
        "# mine\n[other]\na = 1\n",
        "[other]\na = 1",
        "[mlflow]\n# kept\nmlflow_tracking_token = t\n[x]\ny=z\n",
        "[mlflow]\nmlflow_tracking_username = admin\n",
    ],
)
def test_what_else_is_in_the_file_stays_and_comes_back(home: Path, project: Path, content: str) -> None:
    path = file_of(home, content)
    do_link(project, SHARED, home=LOGIN)
    assert _read_mlflow_creds_from_file() == (LOGIN.username, PASSWORD)
    written = path.read_text()
    assert all(line in written for line in content.splitlines() if "username" not in line)
    unlink(project, Recorder())
    assert path.read_text() == content


def test_the_login_of_somebody_else_is_not_replaced(home: Path, project: Path) -> None:
    content = "[mlflow]\nmlflow_tracking_username = bob\nmlflow_tracking_password = his\n"
    path, before = file_of(home, content), snapshot(project)
    with pytest.raises(LinkRefused, match="has the login of bob"):
        do_link(project, SHARED, home=LOGIN)
    assert path.read_text() == content
    assert snapshot(project) == before


def test_a_changed_password_of_the_same_user_is_taken(home: Path, project: Path) -> None:
    do_link(project, SHARED, home=LOGIN)
    do_link(project, SHARED, home=Credentials(LOGIN.username, Secret("another one %(x)s")))
    assert _read_mlflow_creds_from_file() == (LOGIN.username, "another one %(x)s")


def test_a_file_that_was_changed_since_is_left_alone_and_said(home: Path, project: Path) -> None:
    do_link(project, SHARED, home=LOGIN)
    path = file_of(home)
    path.write_text(path.read_text() + "\n[mine]\na = 1\n")
    changed, recorder = path.read_text(), Recorder()
    unlink(project, recorder)
    assert path.read_text() == changed
    assert ("kept", str(path)) in {(step.verb, step.subject) for step in recorder.steps}


def test_the_login_stays_as_long_as_another_project_uses_it(
    home: Path, project: Path, tmp_path: Path
) -> None:
    second = make_project(tmp_path / "second", {"conf/base/": "", "conf/local/": ""})
    do_link(project, SHARED, home=LOGIN)
    do_link(second, SHARED, home=LOGIN)
    unlink(project, Recorder())
    assert _read_mlflow_creds_from_file() == (LOGIN.username, PASSWORD)


def test_a_file_that_mlflow_cannot_read_is_refused(home: Path, project: Path) -> None:
    file_of(home, "no section\n")
    with pytest.raises(LinkRefused, match="cannot be understood"):
        do_link(project, SHARED, home=LOGIN)


def test_a_password_that_the_form_has_no_place_for_is_refused(home: Path, project: Path) -> None:
    for odd in (" begins with a space", "ends with one ", "two\nlines"):
        with pytest.raises(LinkRefused, match="cannot be written with certainty"):
            do_link(project, SHARED, home=Credentials("ana", Secret(odd)))
    assert not file_of(home).exists()


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_password_is_read_back_as_it_is(password: str) -> None:
    values = {"mlflow_tracking_username": "ana", "mlflow_tracking_password": password}
    content = _with_values("[a]\nb = c\n", values)
    assert _values(content, Path("x")) == values


def test_the_shell_takes_the_password_from_its_environment_and_shows_it_nowhere() -> None:
    lines = "\n".join(shell_login("o'brien"))
    script = f'{lines}\nprintf "%s|%s" "$MLFLOW_TRACKING_USERNAME" "$MLFLOW_TRACKING_PASSWORD"'
    env = {**os.environ, "MLFLOW_TRACKING_PASSWORD": "from CI $x `y`"}
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", script], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == "o'brien|from CI $x `y`"
        assert done.stderr == ""


def test_a_file_of_mlflows_that_cannot_be_read_is_no_login(home: Path) -> None:
    (home / ".mlflow/credentials").mkdir(parents=True)
    assert home_login() == {}
