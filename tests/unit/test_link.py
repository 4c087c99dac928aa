"""Linking Kedro projects of every layout: what is written where, what is refused, and that all comes back."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.actions.kedro_layers import effective
from provisioner.actions.kedro_project import NotAProject, environments, find_project
from provisioner.actions.link import Credentials, LinkReport, link, linked_projects, unlink
from provisioner.errors import LinkRefused, Locked
from provisioner.model.secret import Secret
from provisioner.output import Recorder
from provisioner.system.files import read_file
from tests.kedro_files import config_files

URI = "http://127.0.0.1:5000"
SHARED = "https://mlflow.example.org"
OURS = f'server:\n  mlflow_tracking_uri: "{URI}"\n'
THEIRS = f'server:\n  mlflow_tracking_uri: "{SHARED}"\n'
LOGIN = Credentials("admin", Secret("s3cret'\"word"))
SETTINGS = "CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local'}\n"
SOFT = "CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local', 'merge_strategy': {'mlflow': 'soft'}}\n"
NO_KEDRO = Path("/nonexistent/python")
Tree = dict[str, str]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISION_STATE_DIR", str(tmp_path / "state"))
    for name in [*os.environ]:
        if name in {"KEDRO_ENV", "MLFLOW_TRACKING_URI"} or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return tmp_path / "state"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "demo", {"conf/base/": "", "conf/local/": ""})


def make_project(path: Path, files: Tree, code: str = SETTINGS) -> Path:
    """A project with those files; a name that ends in / is an empty directory."""
    kedro = '[tool.kedro]\npackage_name = "demo"\nproject_name = "demo"\nkedro_init_version = "1.7.0"\n'
    for name, content in {"pyproject.toml": kedro, "src/demo/settings.py": code, **files}.items():
        target = path / name
        if name.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode())
    return path


def snapshot(path: Path) -> dict[str, bytes | None]:
    """Every file's bytes and every directory below the path."""
    return {str(entry.relative_to(path)): read_file(entry) if entry.is_file() else None for entry in sorted(path.rglob("*"))}


def do_link(project: Path, uri: str = URI, recorder: Recorder | None = None, **options: object) -> LinkReport:
    return link(project, uri, python=NO_KEDRO, reporter=recorder or Recorder(), **options)  # type: ignore[arg-type]


# name: (settings, files before, options, files after that differ)
LAYOUTS: dict[str, tuple[str, Tree, dict[str, str], Tree]] = {
    "nothing yet, loopback": (SETTINGS, {"conf/base/": "", "conf/local/": ""}, {}, {"conf/local/mlflow.yml": OURS}),
    "no conf/local": (SETTINGS, {"conf/base/": ""}, {}, {"conf/local/mlflow.yml": OURS}),
    "nothing yet, shared": (SETTINGS, {"conf/base/": "", "conf/local/": ""}, {"uri": SHARED}, {"conf/base/mlflow.yml": THEIRS}),
    "shared, no conf/local": (SETTINGS, {"conf/base/": ""}, {"uri": SHARED}, {"conf/base/mlflow.yml": THEIRS}),
    "local file": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow.yml": "server:\n  mlflow_tracking_uri: mlruns # x\n"},
        {},
        {"conf/local/mlflow.yml": f'server:\n  mlflow_tracking_uri: "{URI}" # x\n'},
    ),
    "a yaml file": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow.yaml": "tracking: {}\n"},
        {},
        {"conf/local/mlflow.yaml": f"tracking: {{}}\n{OURS}"},
    ),
    "base only, loopback: the block is carried over": (
        SETTINGS,
        {"conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n  credentials: mine\n  zeta: {a: true}\n", "conf/local/": ""},
        {},
        {"conf/local/mlflow.yml": OURS + '  credentials: "mine"\n  zeta: {a: true}\n'},
    ),
    "base only, loopback, soft merge": (
        SOFT,
        {"conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n  credentials: mine\n", "conf/local/": ""},
        {},
        {"conf/local/mlflow.yml": OURS},
    ),
    "base and local, shared: local's block hides the base's": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n",
            "conf/local/mlflow.yml": "server:\n  mlflow_tracking_uri: http://mine\n  credentials: c\n",
        },
        {"uri": SHARED},
        {"conf/local/mlflow.yml": THEIRS + "  credentials: c\n"},
    ),
    "base and local without block, shared": (
        SETTINGS,
        {"conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n", "conf/local/mlflow.yml": "ui: {}\n"},
        {"uri": SHARED},
        {"conf/base/mlflow.yml": THEIRS},
    ),
    "soft merge, local block without address, shared": (
        SOFT,
        {"conf/base/mlflow.yml": "server: {}\n", "conf/local/mlflow.yml": "server:\n  credentials: c\n"},
        {"uri": SHARED},
        {"conf/base/mlflow.yml": f'server: {{mlflow_tracking_uri: "{SHARED}"}}\n'},
    ),
    "an environment by name": (SETTINGS, {"conf/base/": "", "conf/local/": ""}, {"env": "prod"}, {"conf/prod/mlflow.yml": OURS}),
    "the base by name": (SETTINGS, {"conf/base/": "", "conf/local/": ""}, {"env": "base"}, {"conf/base/mlflow.yml": OURS}),
    "configuration elsewhere": (
        "CONF_SOURCE = 'settings/conf'\n",
        {"settings/conf/base/": "", "conf/local/mlflow.yml": "not: ours\n"},
        {},
        {"settings/conf/local/mlflow.yml": OURS},
    ),
    "environments of other names": (
        "CONFIG_LOADER_ARGS = {'base_env': 'common', 'default_run_env': 'me', 'custom_resolvers': {'f': lambda x: x}}\n",
        {"conf/common/": ""},
        {},
        {"conf/me/mlflow.yml": OURS},
    ),
    "no settings file": ("", {"conf/base/": "", "conf/local/": ""}, {}, {"conf/local/mlflow.yml": OURS}),
    "a file in a folder": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow/tracking.yml": "server: {}\n"},
        {},
        {"conf/local/mlflow/tracking.yml": f'server: {{mlflow_tracking_uri: "{URI}"}}\n'},
    ),
    "several files, one block": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow.yml": "ui: {}\n", "conf/local/mlflow_server.yml": "server: {}\n"},
        {},
        {"conf/local/mlflow_server.yml": f'server: {{mlflow_tracking_uri: "{URI}"}}\n'},
    ),
    "a global, set where it stands": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: ${globals:tracker}\n",
            "conf/base/globals.yml": "a: 1\ntracker: http://old # here\n",
            "conf/local/": "",
        },
        {"uri": SHARED},
        {"conf/base/globals.yml": f'a: 1\ntracker: "{SHARED}" # here\n'},
    ),
    "a global, overruled for this machine": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": "server:\n  mlflow_tracking_uri: ${globals:tracker}\n",
            "conf/base/globals.yml": "tracker: http://old\n",
            "conf/local/": "",
        },
        {},
        {"conf/local/globals.yml": f'tracker: "{URI}"\n'},
    ),
    "a global that local sets already, shared": (
        SETTINGS,
        {
            "conf/base/mlflow.yml": 'server: {mlflow_tracking_uri: "${globals:a.b}"}\n',
            "conf/base/globals.yml": "a: {b: http://old}\n",
            "conf/local/globals.yml": "a:\n  b: http://mine\n",
        },
        {"uri": SHARED},
        {"conf/local/globals.yml": f'a:\n  b: "{SHARED}"\n'},
    ),
    "a registry on the old server follows": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: http://old/\n"},
        {},
        {"conf/local/mlflow.yml": OURS + f'  mlflow_registry_uri: "{URI}"\n'},
    ),
    "a registry of its own stays": (
        SETTINGS,
        {"conf/base/": "", "conf/local/mlflow.yml": "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: http://reg\n"},
        {},
        {"conf/local/mlflow.yml": OURS + "  mlflow_registry_uri: http://reg\n"},
    ),
    "a hidden copy and a backup beside it": (
        SETTINGS,
        {
            "conf/base/": "",
            "conf/local/mlflow.yml": "server: {}\n",
            "conf/local/.mlflow.yml": "x",
            "conf/local/mlflow.yml.bak": "server: {}",
        },
        {},
        {"conf/local/mlflow.yml": f'server: {{mlflow_tracking_uri: "{URI}"}}\n'},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_address_goes_where_kedro_reads_it_and_comes_back_out(name: str, tmp_path: Path) -> None:
    code, files, options, expected = LAYOUTS[name]
    project = make_project(tmp_path / "demo", files, code)
    before = snapshot(project)
    report = do_link(project, **options)
    after = {path: content for path, content in snapshot(project).items() if content is not None and before.get(path) != content}
    assert {path: content.decode() for path, content in after.items()} == expected
    assert report.changed == tuple(expected)
    assert report.proof.state == "not made"
    uri = options.get("uri", URI)
    found = find_project(project)
    env = options.get("env", found.default_env())
    assert effective(found, found.default_env() if env == found.base_env else env, read_file).uri == uri
    once = snapshot(project)
    assert do_link(project, **options).changed == ()
    assert snapshot(project) == once
    unlink(project, Recorder())
    assert snapshot(project) == before


@settings(max_examples=60, deadline=None)
@given(local=st.none() | config_files(), base=st.none() | config_files(), uri=st.sampled_from([URI, SHARED]))
def test_unlink_restores_whatever_was_there(local: bytes | None, base: bytes | None, uri: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "demo", {"conf/base/": "", "conf/local/": ""})
        for name, content in ((LOCAL, local), (BASE, base)):
            if content is not None:
                (project / name).write_bytes(content)
        before = snapshot(project)
        try:
            do_link(project, uri)
        except LinkRefused:
            assert snapshot(project) == before
            return
        once = snapshot(project)
        do_link(project, uri)
        assert snapshot(project) == once
        assert effective(find_project(project), "local", read_file).uri == uri
        unlink(project, Recorder())
        assert snapshot(project) == before


LOCAL, BASE = "conf/local/mlflow.yml", "conf/base/mlflow.yml"
OLD = "server:\n  mlflow_tracking_uri: http://old\n"
# name: (settings, files, options, words of what or why, place)
REFUSED: dict[str, tuple[str, Tree, dict[str, str], str, str]] = {
    "flat": (SETTINGS, {LOCAL: "mlflow_tracking_uri: mlruns\n", "conf/base/": ""}, {}, "flat form", LOCAL),
    "flat in the base": (SETTINGS, {BASE: "mlflow_tracking_uri: mlruns\n", "conf/local/": ""}, {}, "flat form", BASE),
    "key twice": (SETTINGS, {LOCAL: OLD + OLD, "conf/base/": ""}, {}, "there twice", f"{LOCAL}, line 3"),
    "two files, one key": (
        SETTINGS,
        {LOCAL: OLD, "conf/local/mlflow_copy.yml": OLD, "conf/base/": ""},
        {},
        "both have the key 'server'",
        "",
    ),
    "two documents": (SETTINGS, {LOCAL: "a: 1\n---\nb: 2\n", "conf/base/": ""}, {}, "several documents", f"{LOCAL}, line 2"),
    "tab": (SETTINGS, {LOCAL: "server:\n\tcredentials: a\n", "conf/base/": ""}, {}, "a tab", f"{LOCAL}, line 2"),
    "alias": (SETTINGS, {LOCAL: "_a: &a x\nserver:\n  mlflow_tracking_uri: *a\n", "conf/base/": ""}, {}, "alias", f"{LOCAL}, line 3"),
    "JSON": (SETTINGS, {"conf/local/mlflow.json": '{"server": {}}', "conf/base/": ""}, {}, "it is JSON", "conf/local/mlflow.json"),
    "interpolated": (
        SETTINGS,
        {LOCAL: "_b: http://x\nserver:\n  mlflow_tracking_uri: ${_b}/y\n", "conf/base/": ""},
        {},
        "interpolation",
        f"{LOCAL}, line 3",
    ),
    "global inside of a longer value": (
        SETTINGS,
        {LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h}:5000\n", "conf/base/globals.yml": "h: http://x\n"},
        {},
        "interpolation",
        f"{LOCAL}, line 2",
    ),
    "global with a default": (
        SETTINGS,
        {LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h, x}\n", "conf/base/globals.yml": "h: http://x\n"},
        {},
        "interpolation",
        f"{LOCAL}, line 2",
    ),
    "global that another value is built from": (
        SETTINGS,
        {
            LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h}\n",
            "conf/base/globals.yml": "h: http://x\n",
            "conf/base/catalog.yml": "a:\n  filepath: ${globals:h}/data\n",
        },
        {},
        "inside of a longer value",
        "conf/base/catalog.yml, line 2",
    ),
    "global that is not there": (
        SETTINGS,
        {LOCAL: "server:\n  mlflow_tracking_uri: ${globals:h}\n", "conf/base/": ""},
        {},
        "no plain text",
        "no globals.yml",
    ),
    "global inside of a block of the base": (
        SETTINGS,
        {BASE: "server:\n  mlflow_tracking_uri: ${globals:a.b}\n", "conf/base/globals.yml": "a: {b: x, c: y}\n", "conf/local/": ""},
        {},
        "inside of a block",
        "conf/base/globals.yml",
    ),
    "a value to carry that only works in the base": (
        SETTINGS,
        {BASE: "_c: mine\nserver:\n  credentials: ${_c}\n", "conf/local/": ""},
        {},
        "only the base has",
        "conf/base",
    ),
    "the base by name, hidden": (SETTINGS, {BASE: OLD, LOCAL: OLD}, {"env": "base"}, "hides the base's", f"{LOCAL}, line 2"),
    "no scheme": (SETTINGS, {"conf/base/": ""}, {"uri": "myhost:5000"}, "no address of a tracking server", ""),
    "a path": (SETTINGS, {"conf/base/": ""}, {"uri": "mlruns"}, "no address of a tracking server", ""),
    "a login in the address": (SETTINGS, {"conf/base/": ""}, {"uri": "http://me:pw@host"}, "holds a login", "http://****@host"),
    "no configuration": ("CONF_SOURCE = 'elsewhere'\n", {"conf/base/": ""}, {}, "is no directory", ""),
    "computed settings": ("import os\nCONF_SOURCE = os.environ['X']\n", {"conf/base/": ""}, {}, "computes CONF_SOURCE", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_where_and_leaves_every_byte(name: str, tmp_path: Path, state: Path) -> None:
    code, files, options, words, place = REFUSED[name]
    project = make_project(tmp_path / "demo", files, code)
    before = snapshot(project)
    with pytest.raises(LinkRefused) as caught:
        do_link(project, **options)
    assert words in f"{caught.value.what} {caught.value.why}"
    assert caught.value.where.startswith(place)
    assert caught.value.hint
    assert "pw" not in f"{caught.value.what}{caught.value.where}{caught.value.why}"
    assert snapshot(project) == before
    assert not [*state.rglob("record.json")]


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
    assert ("kept", LOCAL, "server.mlflow_tracking_uri was changed since") in [(s.verb, s.subject, s.detail) for s in recorder.steps]


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
    assert (project / LOCAL).read_text() == '# mine\nserver:\n  mlflow_tracking_uri: "http://localhost:6000"\n'
    unlink(project, Recorder())
    assert (project / LOCAL).read_text() == "# mine\n"


def test_a_login_is_named_in_mlflow_yml_and_kept_in_private_credentials(project: Path) -> None:
    before = snapshot(project)
    do_link(project, credentials=LOGIN)
    assert (project / LOCAL).read_text() == OURS + '  credentials: "mlflow_server"\n'
    path = project / "conf/local/credentials.yml"
    assert path.read_text() == ('mlflow_server:\n  MLFLOW_TRACKING_USERNAME: "admin"\n  MLFLOW_TRACKING_PASSWORD: "s3cret\'\\"word"\n')
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
    assert path.read_text().startswith('mine:\n  MLFLOW_TRACKING_USERNAME: "admin"\n  MLFLOW_TRACKING_PASSWORD: "s3cret')
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


def test_a_dry_run_shows_the_diff_without_the_password_and_writes_nothing(tmp_path: Path, state: Path) -> None:
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
    import fcntl

    [lock] = state.rglob(".lock")
    with open(lock, "a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Locked):
            do_link(project, uri=SHARED)
    assert (project / LOCAL).read_text() == OURS


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"HTTP_PROXY": "http://me:pw@proxy:3128"}, "HTTP_PROXY sends requests for 127.0.0.1 to proxy:3128; add 127.0.0.1 to NO_PROXY"),
        (
            {"all_proxy": "http://proxy", "no_proxy": "example.org"},
            "all_proxy sends requests for 127.0.0.1 to proxy; add 127.0.0.1 to no_proxy",
        ),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "localhost, 127.0.0.0/8"}, ""),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "*"}, ""),
        ({"HTTPS_PROXY": "http://proxy"}, ""),
    ],
)
def test_a_proxy_that_swallows_the_address_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    recorder = Recorder()
    do_link(project, recorder=recorder)
    assert [step.detail for step in recorder.steps if step.subject == "proxy"] == ([named] if named else [])
