"""After a link, real Kedro with kedro-mlflow says what a run uses; our reading of the files says the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from provisioner.errors import LinkRefused
from provisioner.kedro import introspection
from provisioner.kedro.config import effective
from provisioner.kedro.introspection import Interpreter, ask
from provisioner.kedro.link import Credentials, LinkReport, link
from provisioner.kedro.old_login import OldLoginFound
from provisioner.kedro.project import find_project
from provisioner.kedro.unlink import unlink
from provisioner.model.secret import Secret
from provisioner.output import Recorder
from provisioner.system.files import read_file
from tests.support.kedro_env import kedro_environment, new_project

URI = "http://127.0.0.1:5999"
SHARED = "https://mlflow.example.org"
LOGIN = Credentials("admin", Secret("s3cret: #'\"\\word ä"))
SETTINGS_WITH_A_RESOLVER = """CONFIG_LOADER_ARGS = {
    "base_env": "base", "default_run_env": "local", "custom_resolvers": {"login": lambda: "bob"}
}
"""
OLD = "server:\n  mlflow_tracking_uri: http://old:5000\n"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_project(tmp_path_factory.mktemp("kedro"))


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISION_STATE_DIR", str(tmp_path / "state"))
    for name in [*os.environ]:
        if name.startswith(("KEDRO_", "MLFLOW_")) or name in {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"}:
            monkeypatch.delenv(name)
    return Path(shutil.copytree(template, tmp_path / "demo"))


@pytest.fixture(scope="session")
def python() -> Path:
    return kedro_environment() / "bin" / "python"


def write(project: Path, name: str, content: str) -> Path:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def settings(project: Path, content: str) -> None:
    write(project, "src/demo/settings.py", content)


def do_link(project: Path, python: Path, uri: str = URI, **options: object) -> LinkReport:
    return link(project, uri, python=python, reporter=Recorder(), **options)  # type: ignore[arg-type]


def snapshot(project: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file()
    }


def test_a_fresh_project_is_proved_and_comes_back_byte_for_byte(project: Path, python: Path) -> None:
    before = snapshot(project)
    report = do_link(project, python)
    assert report.proof.state == "ok", report.proof
    assert "kedro 1." in report.proof.detail
    assert "kedro-mlflow 2." in report.proof.detail
    again = do_link(project, python)
    assert again.changed == ()
    assert again.proof.state == "ok"
    unlink(project, Recorder())
    assert snapshot(project) == before


def test_the_template_of_kedro_mlflow_is_proved(project: Path, python: Path) -> None:
    template = next(
        kedro_environment().glob("lib/python*/site-packages/kedro_mlflow/template/project/mlflow.yml")
    )
    content = template.read_text().replace("{{ python_package }}", "demo")
    path = write(project, "conf/base/mlflow.yml", content)
    assert do_link(project, python, SHARED).proof.state == "ok"
    assert path.read_text() == content.replace(
        "mlflow_tracking_uri: null", f'mlflow_tracking_uri: "{SHARED}"', 1
    )
    # For this machine alone: a block in conf/local, with everything that the base's had.
    assert do_link(project, python).proof.state == "ok"
    assert path.read_text() == content


def test_a_login_is_proved(project: Path, python: Path) -> None:
    report = do_link(project, python, credentials=LOGIN)
    assert report.proof.state == "ok"
    loaded = ask(find_project(project), Interpreter(python, ""), ["local"]).environments["local"]
    assert loaded.credentials == "mlflow_server"
    assert (
        loaded.login["MLFLOW_TRACKING_PASSWORD"]
        == hashlib.sha256(LOGIN.password.reveal().encode()).hexdigest()
    )


CASES = {
    "local only": {"conf/local/mlflow.yml": OLD},
    "base only": {"conf/base/mlflow.yml": OLD + "  credentials: mine\n"},
    "base and local": {
        "conf/base/mlflow.yml": OLD,
        "conf/local/mlflow.yml": "server: {credentials: c}\nui: {port: '1'}\n",
    },
    "byte-order mark and CRLF": {"conf/local/mlflow.yml": "\ufeff" + OLD.replace("\n", "\r\n")},
    "globals": {
        "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: ${globals:uri}\n",
        "conf/base/globals.yml": "uri: http://old\n",
    },
    "nested globals": {
        "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: ${globals:a.uri}\n",
        "conf/local/globals.yml": "a:\n  uri: http://old\n  other: 1\n",
    },
    "a file in a folder": {"conf/local/mlflow/server.yml": OLD},
    "underscore keys in two files": {
        "conf/local/mlflow.yml": f"_a: 1\n{OLD}",
        "conf/local/mlflow_x.yml": "_a: 2\nui: {}\n",
    },
}


def test_kedro_takes_no_login_of_another_server(project: Path, python: Path) -> None:
    write(project, "conf/local/mlflow.yml", OLD + "  credentials: theirs\n")
    write(
        project,
        "conf/local/credentials.yml",
        "theirs:\n  MLFLOW_TRACKING_USERNAME: bob\n  MLFLOW_TRACKING_PASSWORD: his-alone\n",
    )
    before = ask(find_project(project), Interpreter(python, ""), ["local"]).environments["local"]
    assert (before.credentials, "MLFLOW_TRACKING_PASSWORD" in before.login) == ("theirs", True)
    with pytest.raises(OldLoginFound):
        do_link(project, python)
    report = do_link(project, python, old_login="remove")
    assert report.proof.state == "ok", report.proof
    after = ask(find_project(project), Interpreter(python, ""), ["local"]).environments["local"]
    assert (after.uri, after.credentials, dict(after.login)) == (URI, "", {})
    # What the files do not tell, Kedro does: here by a resolver.
    settings(project, SETTINGS_WITH_A_RESOLVER)
    write(project, "conf/local/credentials.yml", "theirs:\n  MLFLOW_TRACKING_USERNAME: ${login:}\n")
    unlink(project, Recorder())
    with pytest.raises(OldLoginFound):
        do_link(project, python)


@pytest.mark.parametrize("uri", [URI, SHARED])
@pytest.mark.parametrize("name", CASES)
def test_kedro_takes_the_address_in_every_layout(name: str, uri: str, project: Path, python: Path) -> None:
    for path, content in CASES[name].items():
        write(project, path, content)
    before = snapshot(project)
    assert do_link(project, python, uri).proof.state == "ok"
    assert effective(find_project(project), "local", read_file).uri == uri
    unlink(project, Recorder())
    assert snapshot(project) == before


LOADER_ARGS = (
    "CONFIG_LOADER_ARGS = {'base_env': 'common', 'default_run_env': 'me', "
    "'merge_strategy': {'mlflow': 'soft'}}\n"
)


@pytest.mark.parametrize("uri", [URI, SHARED])
@pytest.mark.parametrize("computed", [False, True])
def test_other_places_and_names_are_found_also_when_they_are_computed(
    uri: str, computed: bool, project: Path, python: Path
) -> None:
    source = "CONF_SOURCE = '/'.join(['cfg', 'kedro'])\n" if computed else "CONF_SOURCE = 'cfg/kedro'\n"
    settings(project, source + LOADER_ARGS)
    write(project, "cfg/kedro/common/mlflow.yml", OLD + "  credentials: c\n")
    assert bool(find_project(project).uncertain) is computed
    report = do_link(project, python, uri)
    assert report.proof.state == "ok"
    assert report.changed == (f"cfg/kedro/{'me' if uri == URI else 'common'}/mlflow.yml",)


def test_a_missing_run_environment_is_made_so_that_the_base_counts(project: Path, python: Path) -> None:
    shutil.rmtree(project / "conf/local")
    assert do_link(project, python, SHARED).proof.state == "ok"
    unlink(project, Recorder())
    assert not (project / "conf/local").exists()


def test_what_kedro_takes_otherwise_is_refused_and_every_byte_is_back(
    project: Path, python: Path, tmp_path: Path
) -> None:
    # A loader of the project's own, which no reading of files could foresee.
    settings(
        project,
        "from kedro.config import OmegaConfigLoader\n"
        "class Loader(OmegaConfigLoader):\n"
        "    def __getitem__(self, key):\n"
        "        return {'server': {'mlflow_tracking_uri': 'http://other'}} "
        "if key == 'mlflow' else super().__getitem__(key)\n"
        "CONFIG_LOADER_CLASS = Loader\n",
    )
    write(project, "conf/local/mlflow.yml", OLD)
    before = snapshot(project)
    with pytest.raises(LinkRefused, match="would not use") as caught:
        do_link(project, python)
    assert "http://other" in caught.value.why
    assert snapshot(project) == before
    assert not [*(tmp_path / "state").rglob("record.json")]


def test_a_configuration_that_kedro_mlflow_refuses_is_refused(project: Path, python: Path) -> None:
    write(project, "conf/local/mlflow.yml", OLD + "  unknown_key: 1\n")
    before = snapshot(project)
    with pytest.raises(LinkRefused) as caught:
        do_link(project, python)
    assert "unknown_key" in caught.value.why
    assert snapshot(project) == before


def test_a_failed_relink_leaves_the_first_link_whole(project: Path, python: Path) -> None:
    before = snapshot(project)
    do_link(project, python)
    linked = snapshot(project)
    (project / "conf/base/mlflow.yml").write_text("nonsense: 1\n")
    with pytest.raises(LinkRefused):
        do_link(project, python, "http://127.0.0.1:6001")
    (project / "conf/base/mlflow.yml").unlink()
    assert snapshot(project) == linked
    unlink(project, Recorder())
    assert snapshot(project) == before


def test_a_project_whose_code_does_not_run_is_linked_without_proof(project: Path, python: Path) -> None:
    settings(project, "import a_package_that_is_not_there\n")
    report = do_link(project, python)
    assert report.proof.state == "not made"
    assert "a_package_that_is_not_there" in report.proof.detail
    assert (project / "conf/local/mlflow.yml").exists()


def test_a_proof_that_takes_too_long_is_none(
    project: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "_PATIENCE", 8.0)
    settings(project, "import time\n\ntime.sleep(300)\n")
    started = time.monotonic()
    report = do_link(project, python)
    assert time.monotonic() - started < 60
    assert report.proof.state == "not made"
    assert " within " in report.proof.detail
    assert "5999" in (project / "conf/local/mlflow.yml").read_text()


def test_an_interpreter_without_kedro_gives_no_proof(project: Path) -> None:
    report = do_link(project, Path("/nonexistent/python"))
    assert (report.proof.state, report.proof.detail) == ("not made", "/nonexistent/python has no Kedro")


def test_the_projects_own_environment_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".venv").symlink_to(kedro_environment())
    report = link(project, URI, reporter=Recorder())
    assert report.proof.state == "ok"
    assert "the project's .venv" in report.proof.detail
    monkeypatch.setenv("VIRTUAL_ENV", str(kedro_environment()))
    (project / "conf/local/mlflow.yml").unlink()
    assert "the active environment" in link(project, URI, reporter=Recorder()).proof.detail


def test_our_reading_and_kedros_agree_for_every_environment(project: Path, python: Path) -> None:
    write(project, "conf/base/mlflow.yml", "server:\n  mlflow_tracking_uri: ${globals:uri}\n")
    write(project, "conf/base/globals.yml", "uri: http://base\n")
    write(project, "conf/globals/globals.yml", "uri: http://other\n")
    write(project, "conf/empty/.gitkeep", "")
    write(project, "conf/hides/mlflow.yml", "server: {credentials: c}\n")
    write(project, "conf/own/mlflow.yml", "server: {mlflow_tracking_uri: http://own}\n")
    found = find_project(project)
    names = ["globals", "empty", "hides", "own", "missing", "local", "base"]
    answer = ask(found, Interpreter(python, ""), names)
    assert answer.error == ""
    assert {env: loaded.uri for env, loaded in answer.environments.items()} == {
        env: effective(found, env, read_file).uri for env in names
    }
    assert answer.environments["missing"].uri == "mlruns"


LOG_RUNS = """\
import sys

import mlflow

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("mine")
for _ in range(int(sys.argv[2])):
    mlflow.start_run()
    mlflow.end_run()
mlflow.MlflowClient().create_registered_model("model")
"""


def test_runs_in_the_projects_folder_are_counted_and_not_touched(project: Path, python: Path) -> None:
    for store, runs in (("mlruns", "2"), ("sqlite:///mlflow.db", "1")):
        environ = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"}
        subprocess.run(
            [python, "-c", LOG_RUNS, store, runs], cwd=project, env=environ, check=True, capture_output=True
        )
    before = snapshot(project)
    recorder = Recorder()
    link(project, URI, python=python, reporter=recorder)
    kept = {step.subject: step.detail.partition(":")[0] for step in recorder.steps if step.verb == "kept"}
    assert kept == {
        "mlruns": "2 runs stay there and not on the server",
        "mlflow.db": "1 run stays there and not on the server",
    }
    unlink(project, Recorder())
    assert snapshot(project) == before
