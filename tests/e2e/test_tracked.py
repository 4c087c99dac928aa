"""Would this `kedro run` be tracked? What `link` and `doctor` say, and what real runs then do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.checks import Tracking
from tests.support.installed import Answer, Program
from tests.support.kedro_env import EARLIER, PRESENT, Release, kedro_environment, kedro_variables, new_project
from tests.support.ports import free_port

LOCAL, BASE, SETTINGS = "conf/local/mlflow.yml", "conf/base/mlflow.yml", "src/demo/settings.py"
EXPERIMENT = (
    "tracking:\n  experiment:\n    name: {}\n    create_experiment_kwargs:\n      artifact_location: {}\n"
)
PIPELINE = """\
from kedro.pipeline import node, pipeline


def register_pipelines():
    return {"__default__": pipeline([node(lambda: (0.5, "a note"), None, ["score", "note"], name="one")])}
"""
CATALOG = """\
score:
  type: kedro_mlflow.io.metrics.{metric}
note:
  type: kedro_mlflow.io.artifacts.{artifact}
  {inner}:
    type: {text}
    filepath: data/note.txt
"""
HOOK = """\
from kedro.framework.hooks import hook_impl
from omegaconf import OmegaConf


class Names:
    @hook_impl(tryfirst=True)
    def after_context_created(self, context):
        OmegaConf.register_new_resolver("my.name", lambda: "by-a-hook", replace=True)


HOOKS = (Names(),)
"""


@dataclass(frozen=True)
class Case:
    """A project and a shell, whether a plain `kedro run` is tracked there, and what is said of it."""

    files: dict[str, str] = field(default_factory=dict)
    tracked: bool = True
    said: str = ""
    """In the reason, or of a tracked run by both commands."""
    hint: str = ""
    refused: bool = False
    """Whether `link` leaves the project as it was."""
    variables: dict[str, str] = field(default_factory=dict)
    proof: str = "ok"


CASES = {
    "as linked": Case(),
    "the default pipeline is left out": Case(
        {LOCAL: "tracking:\n  disable_tracking:\n    pipelines: [__default__]\n"},
        False,
        "tracking.disable_tracking.pipelines has __default__",
        "take __default__ out of tracking.disable_tracking.pipelines",
    ),
    "another pipeline is left out": Case({LOCAL: "tracking:\n  disable_tracking:\n    pipelines: [other]\n"}),
    "the hook is off by the package's own name": Case(
        {SETTINGS: 'DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)\n'},
        False,
        "settings.py disables the hook of kedro-mlflow",
        "take 'kedro_mlflow' out of DISABLE_HOOKS_FOR_PLUGINS",
    ),
    "a name that the package does not have": Case(
        {SETTINGS: 'DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)\n'}
    ),
    "artifacts beside the server": Case(
        {LOCAL: EXPERIMENT.format("beside", "s3://bucket/x")},
        False,
        "artifact_location is s3://bucket/x",
        "take artifact_location out of mlflow.yml",
    ),
    "artifacts in a folder of the server's": Case(
        {LOCAL: EXPERIMENT.format("inside", "mlflow-artifacts:/own")}
    ),
    "a login that no file has, and nobody asks for": Case({LOCAL: "server:\n  credentials: nobodys\n"}),
    "a key that kedro-mlflow does not know": Case(
        {LOCAL: "# ours\ntracking:\n  run:\n    nam: x\n"},
        False,
        "Kedro cannot load it: conf/local/mlflow.yml, line 4: tracking.run.nam: "
        "Extra inputs are not permitted",
        "correct what it names",
        refused=True,
    ),
    "a variable where Kedro has none": Case(
        {BASE: "tracking:\n  experiment:\n    name: ${oc.env:USER}\n"},
        False,
        "conf/base/mlflow.yml, line 3: tracking.experiment.name: Unsupported interpolation type oc.env",
        "Kedro has `oc.env` in credentials.yml alone",
        refused=True,
    ),
    "a proxy that the client takes all the same": Case(
        {},
        False,
        "http_proxy sends requests for 127.0.0.1 to 127.0.0.1:9, which gives no answer",
        "add 127.0.0.1 to no_proxy",
        variables={"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1:5000"},
        proof="not tracked",
    ),
    "a name that kedro-mlflow makes, and models elsewhere by a global": Case(
        {
            BASE: (
                "server:\n  mlflow_registry_uri: ${globals:models}\n"
                "tracking:\n  run:\n    name: ${km.random_name:}\n"
            ),
            "conf/base/globals.yml": "models: sqlite:///models.db\n",
            "mlruns/1/meta.yaml": "",
            "mlruns/1/0f/meta.yaml": "",
        },
        said="1 run stays there and not on the server",
    ),
    "a name that a hook of the project's makes": Case(
        {SETTINGS: HOOK, LOCAL: "tracking:\n  run:\n    name: ${my.name:}\n"},
        said="conf/local/mlflow.yml, line 3: tracking.run.name: Unsupported interpolation type my.name",
        proof="not made",
    ),
}


@pytest.fixture(scope="module")
def stack(installed: Path, stacks: Path) -> Iterator[Program]:
    program = Program(installed, stacks / "tracked" / "stack", "embedded")
    with program.running(f"server:\n  port: {free_port()}\n"):
        yield program


@pytest.fixture(scope="module")
def uri(stack: Program) -> str:
    return str(stack("status").data["tracking_uri"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return logging_project(tmp_path_factory.mktemp("kedro"), PRESENT)


def logging_project(parent: Path, release: Release) -> Path:
    """A project whose run logs a metric and an artifact."""
    project = new_project(parent, release=release)
    (project / "src/demo/pipeline_registry.py").write_text(PIPELINE)
    (project / "conf/base/catalog.yml").write_text(CATALOG.format(**release.datasets))
    return project


def arrived(uri: str) -> set[str]:
    """Every run of the users' that has its metric and its artifact on the server."""
    tracking = Tracking(uri)
    found = tracking.call("/experiments/search", {"max_results": 1000})["experiments"]
    ids = [experiment["experiment_id"] for experiment in found]
    runs = tracking.call("/runs/search", {"experiment_ids": ids, "max_results": 1000}).get("runs", [])
    whole = set()
    for run in runs:
        run_id = run["info"]["run_id"]
        assert [(metric["key"], metric["value"]) for metric in run["data"]["metrics"]] == [("score", 0.5)]
        assert [file["path"] for file in tracking.call(f"/artifacts/list?run_id={run_id}")["files"]] == [
            "note.txt"
        ]
        whole.add(run_id)
    return whole


def kedro(
    project: Path, *arguments: str, release: Release = PRESENT, variables: dict[str, str] | None = None
) -> tuple[int, str]:
    """What `kedro` ended with, and said."""
    environment = {**kedro_variables(), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", **(variables or {})}
    argv = [str(kedro_environment(release) / "bin/kedro"), *arguments]
    done = subprocess.run(
        argv, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def put(project: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)


def all_said(answer: Answer) -> str:
    """Every sentence of a command."""
    steps = [step["detail"] for step in answer.data["steps"]]
    environments = [
        remark for environment in answer.data.get("environments", ()) for remark in environment["remarks"]
    ]
    stores = [
        f"{store['runs']} run stays there and not on the server"
        for store in answer.data.get("local_runs", ())
    ]
    return "\n".join([*steps, *environments, *stores, *(error["why"] for error in answer.document["errors"])])


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_of_a_run_is_what_becomes_of_it(
    stack: Program, uri: str, template: Path, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    project = Path(shutil.copytree(template, tmp_path / "demo"))
    put(project, case.files)
    shell = stack.changed(variables=case.variables)
    linked = shell("link", str(project), "--python", str(kedro_environment() / "bin/python"))
    if case.refused:
        # As by hand, so that its run can be seen.
        put(project, {LOCAL: f"{case.files.get(LOCAL, '')}server:\n  mlflow_tracking_uri: {uri}\n"})
    # It finds the project's Kedro as `kedro` on the PATH would be found: by the active environment.
    seen = stack.changed(variables={**case.variables, "VIRTUAL_ENV": str(kedro_environment())})(
        "doctor", str(project)
    )
    assert (linked.code, seen.code) == ((0, 0) if case.tracked else (9 if case.refused else 6, 6)), (
        linked.document,
        seen.document,
    )
    for answer in (linked, seen):
        assert case.said in all_said(answer), answer.document
        assert case.tracked or answer.error["hint"].startswith(case.hint), answer.error
    if not case.refused:
        assert linked.data["proof"]["state"] == (case.proof if case.tracked else "not tracked")
    before = arrived(uri)
    code, output = kedro(project, "run", variables=case.variables)
    assert len(arrived(uri) - before) == int(case.tracked), output
    assert not case.tracked or code == 0, output


def test_models_elsewhere_are_said_and_carried(stack: Program, template: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(template, tmp_path / "demo"))
    put(project, CASES["a name that kedro-mlflow makes, and models elsewhere by a global"].files)
    python = str(kedro_environment() / "bin/python")
    assert ("kept", "registry") in stack("link", str(project), "--python", python).verbs
    assert 'mlflow_registry_uri: "${globals:models}"' in (project / LOCAL).read_text()
    assert "models are registered at sqlite:///models.db, not on this server" in all_said(
        stack("doctor", str(project))
    )


@pytest.mark.parametrize("env", ["base", "local"])
def test_the_advice_for_the_flat_form_leads_to_a_link(
    stack: Program, uri: str, template: Path, tmp_path: Path, env: str
) -> None:
    project = Path(shutil.copytree(template, tmp_path / "demo"))
    flat = project / "conf" / env / "mlflow.yml"
    flat.write_text("mlflow_tracking_uri: mlruns\nexperiment:\n  name: flat\n")
    link = ("link", str(project), "--python", str(kedro_environment() / "bin/python"))
    refused = stack(*link)
    assert refused.code == 9
    said = (
        f"move conf/{env}/mlflow.yml out of the configuration, "
        f"run `kedro mlflow init --env {env}` and bring your values over"
    )
    assert refused.error["hint"].startswith(said)
    flat.rename(tmp_path / "kept.yml")
    assert kedro(project, "mlflow", "init", "--env", env)[0] == 0
    assert flat.exists()
    assert stack(*link).data["proof"]["state"] == "ok"
    before = arrived(uri)
    assert kedro(project, "run")[0] == 0
    assert len(arrived(uri) - before) == 1


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Kedro 0.18 has no release for Python 3.12")
@pytest.mark.parametrize(
    "arguments", ['{"config_patterns": {"spark": ["spark*/"]}}', "dict(config_patterns={})"]
)
def test_a_project_of_an_earlier_kedro_keeps_its_own_environments(
    stack: Program, uri: str, tmp_path: Path, arguments: str
) -> None:
    project = logging_project(tmp_path, EARLIER)
    with (project / SETTINGS).open("a") as settings:
        settings.write(f"CONFIG_LOADER_ARGS = {arguments}\n")
    linked = stack("link", str(project), "--python", str(kedro_environment(EARLIER) / "bin/python"))
    assert (linked.code, linked.data["changed"]) == (0, [LOCAL]), linked.document
    assert linked.data["proof"]["state"] == "ok"
    assert "kedro 0.18.14" in linked.data["proof"]["detail"]
    before = arrived(uri)
    code, output = kedro(project, "run", release=EARLIER)
    assert (code, len(arrived(uri) - before)) == (0, 1), output
    assert stack("doctor", str(project)).data["environments"][0]["proved"]


def test_a_stack_that_is_down_takes_no_run(stack: Program, template: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(template, tmp_path / "demo"))
    python = str(kedro_environment() / "bin/python")
    assert stack("down").code == 0
    try:
        linked = stack("link", str(project), "--python", python)
        assert (linked.code, linked.verbs[0]) == (6, ("created", LOCAL))
        assert linked.error["hint"] == f"start the stack: `provision up --stack {stack.stack}`"
        assert "takes no run now" in linked.error["why"]
        assert stack("doctor", str(project)).code == 6
    finally:
        assert stack("up", "--no-link").code == 0
    assert stack("link", str(project)).code == 0
    assert stack("doctor", str(project)).code == 0


def experiment(uri: str, name: str, **values: str) -> str:
    return str(Tracking(uri).call("/experiments/create", {"name": name, **values})["experiment_id"])


def test_a_deleted_experiment_takes_no_run_unless_it_is_restored(
    stack: Program, uri: str, template: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(template, tmp_path / "demo"))
    named = "tracking:\n  experiment:\n    name: gone\n    restore_if_deleted: {}\n"
    python = str(kedro_environment() / "bin/python")
    Tracking(uri).call("/experiments/delete", {"experiment_id": experiment(uri, "gone")})
    for restores in (False, True):
        put(project, {BASE: named.format(str(restores).lower())})
        code = 0 if restores else 6
        linked, seen = stack("link", str(project), "--python", python), stack("doctor", str(project))
        assert (linked.code, seen.code) == (code, code)
        if not restores:
            assert (
                linked.error["why"]
                == "the experiment 'gone' is deleted, and tracking.experiment.restore_if_deleted is false"
            )
            assert linked.error["hint"] == seen.error["hint"] == "set it to true, or name another experiment"
        before = arrived(uri)
        kedro(project, "run")
        assert len(arrived(uri) - before) == int(restores)
