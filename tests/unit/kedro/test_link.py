"""Linking and unlinking: logins, git, changed files, dry runs, records."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
from pathlib import Path

import pytest

from provisioner.errors import LinkRefused, Locked, ProvisionError
from provisioner.kedro.link import linked_projects
from provisioner.kedro.project import NotAProject, environments, find_project
from provisioner.kedro.unlink import unlink
from provisioner.output import Recorder
from tests.support.link_project import (
    BASE,
    LOCAL,
    LOGIN,
    OLD,
    OURS,
    SHARED,
    THEIRS,
    URI,
    do_link,
    forget_variables,
    make_project,
    snapshot,
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_variables(monkeypatch, tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "demo", {"conf/base/": "", "conf/local/": ""})


def test_kedro_env_is_obeyed_or_the_link_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEDRO_ENV", "prod")
    with pytest.raises(LinkRefused, match="KEDRO_ENV is prod"):
        do_link(project)
    assert do_link(project, env="prod").changed == ("conf/prod/mlflow.yml",)
    assert environments(find_project(project)) == ["prod", "local"]


def test_no_kedro_project_is_an_error_that_names_the_directory(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(NotAProject) as caught:
        do_link(tmp_path)
    assert str(tmp_path) in caught.value.what
    assert "[tool.kedro]" in caught.value.why


def test_a_project_is_found_from_below(project: Path) -> None:
    assert find_project(project / "src" / "demo").path == project.resolve()


def test_relinking_keeps_the_first_bytes_and_leaves_no_trace_of_the_first_address(project: Path) -> None:
    before = snapshot(project)
    do_link(project)
    report = do_link(project, uri=SHARED)
    assert set(report.changed) == {"conf/base/mlflow.yml", "conf/local/mlflow.yml"}
    assert (project / BASE).read_text() == THEIRS
    assert not (project / LOCAL).exists()
    unlink(project, Recorder())
    assert snapshot(project) == before


def test_unlink_takes_only_our_values_from_a_file_that_somebody_changed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "demo", {BASE: "server:\n  credentials: c\n", LOCAL: "ui: {}\n"})
    do_link(project)
    (project / LOCAL).write_text((project / LOCAL).read_text() + "tracking: {} # mine\n")
    recorder = Recorder()
    unlink(project, recorder)
    assert (project / LOCAL).read_text() == "ui: {}\ntracking: {} # mine\n"
    assert [(step.verb, step.subject) for step in recorder.steps] == [("changed", LOCAL)]
    assert "only our values" in recorder.steps[0].detail


def test_unlink_puts_the_old_address_back_in_a_changed_file(tmp_path: Path) -> None:
    project = make_project(tmp_path / "demo", {"conf/base/": "", LOCAL: OLD})
    do_link(project)
    (project / LOCAL).write_text("# mine\n" + (project / LOCAL).read_text())
    unlink(project, Recorder())
    assert (project / LOCAL).read_text() == '# mine\nserver:\n  mlflow_tracking_uri: "http://old"\n'


def test_unlink_keeps_an_address_that_somebody_wrote_since(project: Path) -> None:
    do_link(project)
    (project / LOCAL).write_text(OLD)
    recorder = Recorder()
    unlink(project, recorder)
    assert (project / LOCAL).read_text() == OLD
    assert ("kept", LOCAL, "server.mlflow_tracking_uri was changed since") in [
        (s.verb, s.subject, s.detail) for s in recorder.steps
    ]


def test_unlink_of_a_project_that_is_not_linked_changes_nothing(project: Path) -> None:
    before = snapshot(project)
    recorder = Recorder()
    assert unlink(project, recorder).changed == ()
    assert snapshot(project) == before
    assert recorder.steps[0].verb == "unchanged"


def test_a_file_that_somebody_changed_is_linked_again_in_place(project: Path) -> None:
    do_link(project)
    (project / LOCAL).write_text("# mine\n" + (project / LOCAL).read_text())
    assert do_link(project).changed == ()
    do_link(project, uri="http://localhost:6000")
    assert (
        project / LOCAL
    ).read_text() == '# mine\nserver:\n  mlflow_tracking_uri: "http://localhost:6000"\n'
    unlink(project, Recorder())
    assert (project / LOCAL).read_text() == "# mine\n"


def test_a_login_is_named_in_mlflow_yml_and_kept_in_private_credentials(project: Path) -> None:
    before = snapshot(project)
    do_link(project, credentials=LOGIN)
    assert (project / LOCAL).read_text() == OURS + '  credentials: "mlflow_server"\n'
    path = project / "conf/local/credentials.yml"
    assert path.read_text() == (
        'mlflow_server:\n  MLFLOW_TRACKING_USERNAME: "admin"\n  MLFLOW_TRACKING_PASSWORD: "s3cret\'\\"word"\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    do_link(project)
    assert not path.exists()
    assert (project / LOCAL).read_text() == OURS
    unlink(project, Recorder())
    assert snapshot(project) == before


def test_a_login_joins_the_entry_that_mlflow_yml_names_and_the_mode_comes_back(tmp_path: Path) -> None:
    content = "mine:\n  AWS_KEY: 'a' # k\nother: {x: y}\n"
    files = {"conf/base/": "", LOCAL: OLD + "  credentials: mine\n", "conf/local/credentials.yml": content}
    project = make_project(tmp_path / "demo", files)
    path = project / "conf/local/credentials.yml"
    path.chmod(0o640)
    do_link(project, credentials=LOGIN)
    assert path.read_text().startswith(
        'mine:\n  MLFLOW_TRACKING_USERNAME: "admin"\n  MLFLOW_TRACKING_PASSWORD: "s3cret'
    )
    assert path.read_text().endswith("\n  AWS_KEY: 'a' # k\nother: {x: y}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    unlink(project, Recorder())
    assert path.read_text() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_login_for_another_environment_goes_where_that_one_reads_it(project: Path) -> None:
    report = do_link(project, uri=SHARED, credentials=LOGIN, env="prod")
    assert report.changed == ("conf/prod/credentials.yml", "conf/prod/mlflow.yml")


@pytest.mark.parametrize(("ignored", "tracked"), [(False, False), (True, True)])
def test_a_password_that_git_would_see_is_refused(project: Path, ignored: bool, tracked: bool) -> None:
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    path = project / "conf/local/credentials.yml"
    if tracked:
        path.write_text("a: {}\n")
        subprocess.run(["git", "-C", str(project), "add", "--all"], check=True)
    if ignored:
        (project / ".gitignore").write_text("conf/local/\n")
    before = snapshot(project)
    with pytest.raises(LinkRefused, match="where git sees it") as caught:
        do_link(project, credentials=LOGIN)
    assert ("tracks" if tracked else "does not ignore") in caught.value.why
    assert snapshot(project) == before


def test_a_password_that_git_ignores_is_written(project: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    (project / ".gitignore").write_text("conf/local/\n")
    do_link(project, credentials=LOGIN)
    assert (project / "conf/local/credentials.yml").exists()


def test_a_dry_run_shows_the_diff_without_the_password_and_writes_nothing(
    tmp_path: Path, state: Path
) -> None:
    files = {"conf/base/": "", LOCAL: OLD, "conf/local/credentials.yml": "mine: {KEY: topsecret}\n"}
    project = make_project(tmp_path / "demo", files)
    before = snapshot(tmp_path)
    recorder = Recorder()
    report = do_link(project, recorder=recorder, credentials=LOGIN, dry_run=True)
    assert "\n-  mlflow_tracking_uri: http://old\n" in report.diff
    assert f'\n+  mlflow_tracking_uri: "{URI}"\n' in report.diff
    assert "s3cret" not in f"{report} {recorder.steps}"
    assert "topsecret" not in report.diff
    assert snapshot(tmp_path) == before
    assert not state.exists()


def test_no_password_stands_in_the_record(project: Path, state: Path) -> None:
    do_link(project, credentials=LOGIN)
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"s3cret" not in kept
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in state.rglob("*.json"))


def test_the_projects_of_a_stack_are_known_until_unlinked_or_gone(tmp_path: Path) -> None:
    one, two = (make_project(tmp_path / name, {"conf/base/": ""}) for name in ("one", "two"))
    for project in (one, two):
        do_link(project, stack="/stacks/a")
    assert linked_projects("/stacks/a") == [one, two]
    assert linked_projects("/stacks/b") == []
    two.rename(tmp_path / "moved")
    assert linked_projects("/stacks/a") == [one]
    unlink(one, Recorder())
    assert linked_projects("/stacks/a") == []


def test_modes_and_links_of_files_stay(project: Path) -> None:
    target = project / "shared.yml"
    target.write_text(OLD)
    target.chmod(0o664)
    (project / LOCAL).symlink_to(target)
    do_link(project)
    assert (project / LOCAL).is_symlink()
    assert URI in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o664


def test_two_links_at_once_do_not_mix(project: Path, state: Path) -> None:
    do_link(project)
    [lock] = state.rglob(".lock")
    with open(lock, "a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Locked):
            do_link(project, uri=SHARED)
    assert (project / LOCAL).read_text() == OURS


@pytest.mark.parametrize(
    ("variables", "cause", "fix"),
    [
        (
            {"HTTP_PROXY": "http://me:pw@127.0.0.1:9"},
            "HTTP_PROXY sends requests for 127.0.0.1 to 127.0.0.1:9",
            "add 127.0.0.1 to NO_PROXY",
        ),
        (
            {"all_proxy": "http://127.0.0.1:9", "no_proxy": "example.org"},
            "all_proxy sends requests for 127.0.0.1 to 127.0.0.1:9",
            "add 127.0.0.1 to no_proxy",
        ),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "localhost, 127.0.0.0/8"}, "", ""),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "*"}, "", ""),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, "", ""),
    ],
)
def test_a_proxy_that_swallows_the_address_keeps_runs_from_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], cause: str, fix: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    recorder = Recorder()
    proof = do_link(project, recorder=recorder).proof
    assert (proof.state == "not tracked", cause in proof.detail, proof.hint) == (bool(cause), True, fix)
    do_link(project, "https://ml.example.invalid", recorder=recorder)
    # Beyond this machine a proxy may be the only way.
    beyond = [warning.subject for warning in recorder.warnings if warning.subject == "proxy"]
    assert beyond == (["proxy"] if "all_proxy" in variables or "HTTPS_PROXY" in variables else [])


@pytest.mark.parametrize(
    ("files", "said"), [({}, True), ({LOCAL: "server:\n  mlflow_registry_uri: http://reg\n"}, False)]
)
def test_a_registry_of_the_shell_is_said_where_no_file_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], said: bool
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://models")
    project = make_project(tmp_path / "shop", {"conf/base/": "", "conf/local/": "", **files})
    recorder = Recorder()
    do_link(project, recorder=recorder)
    told = [step.detail for step in recorder.steps if step.subject == "registry"]
    told += [warning.text for warning in recorder.warnings if warning.subject == "registry"]
    assert ["http://models" in text for text in told] == [said]


def steps_of_link(project: Path, uri: str = URI, **options: object) -> tuple[list[tuple[str, str]], bool]:
    """What the link says it did or found, without its proof; and whether it says that nothing was changed."""
    recorder = Recorder()
    report = do_link(project, uri, recorder=recorder, **options)
    return [(step.verb, step.subject) for step in recorder.steps if step.subject != "kedro"], report.unchanged


def test_a_second_link_says_that_nothing_was_changed(tmp_path: Path) -> None:
    block = "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: http://old\n  zeta: 1\n"
    project = make_project(tmp_path / "demo", {BASE: block, "conf/local/": ""})
    done = [("changed", "registry"), ("carried", "server")]
    assert steps_of_link(project) == ([("created", LOCAL), *done], False)
    assert steps_of_link(project) == ([("unchanged", LOCAL)], True)
    assert steps_of_link(project, "http://127.0.0.1:6001") == ([("changed", LOCAL), *done], False)


def test_what_a_link_changes_beside_the_files_is_said(tmp_path: Path) -> None:
    project = make_project(tmp_path / "demo", {"conf/base/": ""})
    shared = [("unchanged", BASE)]
    assert steps_of_link(project, SHARED) == ([("created", BASE), ("created", "conf/local")], False)
    assert steps_of_link(project, SHARED) == (shared, True)
    assert steps_of_link(project, SHARED, stack="/stacks/one") == ([*shared, ("changed", "project")], False)
    assert steps_of_link(project, SHARED, stack="/stacks/one") == (shared, True)
    with_ca, _ = steps_of_link(project, SHARED, stack="/stacks/one", ca=b"one")
    assert ("created", "certificates") in with_ca
    anew, unchanged = steps_of_link(project, SHARED, stack="/stacks/one", ca=b"two")
    # The project names the same file, which has other certificates now.
    assert (("changed", "certificates") in anew, unchanged) == (True, False)
    assert steps_of_link(project, SHARED, stack="/stacks/one", ca=b"two")[1]


def test_unlink_names_the_files_that_it_changed(project: Path) -> None:
    do_link(project)
    (project / LOCAL).unlink()
    assert unlink(project, Recorder()).changed == ()
    do_link(project)
    assert unlink(project, Recorder()).changed == (LOCAL,)


@pytest.mark.parametrize("name", ["conf/local/mlflow.yml", "pyproject.toml"])
def test_a_pipe_in_place_of_a_projects_file_is_refused_at_once(project: Path, name: str) -> None:
    path = project / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(ProvisionError, match="cannot be read") as caught:
        do_link(project)
    assert str(path) in caught.value.where
