"""Would this `kedro run` be tracked? What `link` and `doctor` say, and what real runs then do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks import Tracking
from tests.installed import Program
from tests.kedro_env import ONE_NODE, kedro_environment, kedro_variables, new_project
from tests.support.ports import free_port

LOCAL = "conf/local/mlflow.yml"
EXPERIMENT = "tracking:\n  experiment:\n    name: {}\n    create_experiment_kwargs:\n      artifact_location: {}\n"
# What the project has, whether a plain `kedro run` is tracked, and else what is said and what is to be done.
CASES: dict[str, tuple[dict[str, str], bool, str, str]] = {
    "as linked": ({}, True, "", ""),
    "the default pipeline is left out": (
        {LOCAL: "tracking:\n  disable_tracking:\n    pipelines: [__default__]\n"},
        False,
        "tracking.disable_tracking.pipelines has __default__",
        "take __default__ out of tracking.disable_tracking.pipelines",
    ),
    "another pipeline is left out": ({LOCAL: "tracking:\n  disable_tracking:\n    pipelines: [other]\n"}, True, "", ""),
    "the hook is off by the package's own name": (
        {"src/demo/settings.py": 'DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)\n'},
        False,
        "settings.py disables the hook of kedro-mlflow",
        "take 'kedro_mlflow' out of DISABLE_HOOKS_FOR_PLUGINS",
    ),
    "a name that the package does not have": ({"src/demo/settings.py": 'DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)\n'}, True, "", ""),
    "artifacts beside the server": (
        {LOCAL: EXPERIMENT.format("beside", "s3://bucket/x")},
        False,
        "artifact_location is s3://bucket/x",
        "take artifact_location out of mlflow.yml",
    ),
    "artifacts in a folder of the server's": (
        {LOCAL: EXPERIMENT.format("inside", "mlflow-artifacts:/own")},
        True,
        "",
        "",
    ),
    "a login that no file has, and nobody asks for": ({LOCAL: "server:\n  credentials: nobodys\n"}, True, "", ""),
}


@pytest.fixture(scope="module")
def stack(installed: Path, stacks: Path) -> Iterator[Program]:
    program = Program(installed, stacks / "tracked" / "stack", "embedded")
    with program.running(f"server:\n  port: {free_port()}\n"):
        yield program


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = new_project(tmp_path_factory.mktemp("kedro"))
    (project / "src/demo/pipeline_registry.py").write_text(ONE_NODE)
    return project


def runs(uri: str) -> int:
    """How many runs the server has in all experiments of the users'."""
    tracking = Tracking(uri)
    found = tracking.call("/experiments/search", {"max_results": 1000})["experiments"]
    ids = [experiment["experiment_id"] for experiment in found if experiment["name"] != "provision-checks"]
    return len(tracking.call("/runs/search", {"experiment_ids": ids, "max_results": 1000}).get("runs", []))


def kedro_run(project: Path) -> subprocess.CompletedProcess[str]:
    kedro = str(kedro_environment() / "bin/kedro")
    return subprocess.run([kedro, "run"], cwd=project, env=kedro_variables(), capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_a_run_is_what_becomes_of_it(stack: Program, template: Path, tmp_path: Path, case: str) -> None:
    files, tracked, said, hint = CASES[case]
    project = Path(shutil.copytree(template, tmp_path / "demo"))
    for name, content in files.items():
        (project / name).write_text(content)
    python = str(kedro_environment() / "bin/python")
    linked = stack("link", str(project), "--python", python)
    # It finds the project's Kedro as `kedro` on the PATH would be found: by the active environment.
    active = stack.changed(variables={"VIRTUAL_ENV": str(kedro_environment())})
    seen = active("doctor", str(project))
    for answer in (linked, seen):
        assert answer.code == (0 if tracked else 6), answer.document
        if not tracked:
            assert answer.error["what"] == "a plain `kedro run` would not be tracked"
            assert said in answer.error["why"], answer.error
            assert answer.error["hint"].startswith(hint), answer.error
    assert linked.data["proof"]["state"] == ("ok" if tracked else "not tracked")
    uri = linked.data["tracking_uri"]
    before = runs(uri)
    done = kedro_run(project)
    assert (runs(uri) - before == 1) is tracked, done.stdout + done.stderr
    if tracked:
        assert done.returncode == 0, done.stdout + done.stderr
