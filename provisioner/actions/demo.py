"""A small Kedro project that uses the stack: made, linked, run, and where to look at it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from provisioner.actions.link import link_projects
from provisioner.errors import PreflightError, ProvisionError, Unhealthy, WouldLoseData
from provisioner.mlflow_api import API
from provisioner.output import Data, KedroProjectPath, Reporter, Result, TrackingUri
from provisioner.stack.context import StackContext
from provisioner.stack.find import open_made_stack
from provisioner.stack.secrets import read_secret
from provisioner.system.host import LocalHost
from provisioner.system.http import Rest, RestError

EXPERIMENT = "digits-demo"
METRIC = "final_accuracy"
ALPHAS = ("0.0001", "0.003", "0.1")
NEEDED = ("kedro", "kedro_mlflow", "kedro_datasets", "sklearn", "matplotlib")
_MARK = "[tool.provision]\ndemo = true"


@dataclass(frozen=True)
class DemoData(Data):
    """What `demo` gives."""

    command: ClassVar[str] = "demo"

    tracking_uri: TrackingUri
    project: KedroProjectPath
    experiment_url: Annotated[str, "the demo's experiment in the MLflow UI"]
    best_run_url: Annotated[str, "the best run in the MLflow UI"]
    accuracy: Annotated[float, "the best run's accuracy"]


def demo(directory: Path, option: Path | None, reporter: Reporter) -> Result:
    """Make, link and run the demo project; return the addresses of the experiment and of its best run."""
    _need_packages()
    context = open_made_stack(option, reporter)
    uri = context.tracking_uri
    rest = _running_server(context)
    project = directory.absolute()
    _make_project(project, reporter)
    link_projects(context, (project,), True, reporter)
    for alpha in ALPHAS:
        with reporter.working(f"kedro run --params alpha={alpha}"):
            _kedro_run(project, alpha)
        reporter.step("ran", "kedro run", f"--params alpha={alpha}")
    experiment, best = _best_run(rest, project)
    accuracy = next(m["value"] for m in best["data"]["metrics"] if m["key"] == METRIC)
    page = f"{uri}/#/experiments/{experiment}/runs"
    run = f"{page}/{best['info']['run_id']}"
    lines = (
        f"experiment    {page}",
        f"best run      {run} (accuracy {accuracy:.3f})",
        f"project       {project}",
    )
    return Result(DemoData(uri, str(project), page, run, accuracy), lines)


def _need_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PreflightError(
            f"the demo needs packages that are not installed: {', '.join(missing)}",
            where=sys.executable,
            hint="`pip install '.[demo]'` in a checkout",
        )


def _running_server(context: StackContext) -> Rest:
    rest = context.client(read_secret(context, "mlflow_admin_password"))
    try:
        rest.call("POST", f"{API}/experiments/search", {"max_results": 1})
    except RestError as error:
        raise Unhealthy(
            "the tracking server does not answer",
            where=context.tracking_uri,
            why=str(error),
            hint="`provision up` starts it",
        ) from error
    return rest


def _make_project(project: Path, reporter: Reporter) -> None:
    """Write the project's files, or use the demo project that is there.

    Raise WouldLoseData for any other directory that is not empty, and where a file is in the way.
    """
    source = Path(__file__).parent.parent / "demo_project"
    settings = project / "pyproject.toml"
    if settings.is_file() and _MARK in settings.read_text(encoding="utf-8"):
        reporter.step("unchanged", "project", str(project))
        return
    in_a_file = any(parent.is_file() for parent in project.parents)
    if in_a_file or (project.exists() and (not project.is_dir() or any(project.iterdir()))):
        raise WouldLoseData(
            f"{project} is there and is no demo project",
            where=str(project),
            hint="name another directory: `provision demo DIR`",
        )
    shutil.copytree(source, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    reporter.step("created", "project", str(project))


def _kedro_run(project: Path, alpha: str) -> None:
    """Run the project once, as a person would start it; the error of a failed run has its output."""
    argv = [sys.executable, "-m", "kedro", "run", "--params", f"alpha={alpha}"]
    # Without bytecode each run would compile MLflow anew.
    dropped = ("MLFLOW_", "KEDRO_ENV", "PYTHONDONTWRITEBYTECODE")
    env = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    env |= {"DO_NOT_TRACK": "1", "KEDRO_DISABLE_TELEMETRY": "1"}
    LocalHost().stream(argv, lambda _: None, cwd=project, env=env)


def _best_run(rest: Rest, project: Path) -> tuple[str, dict[str, Any]]:
    found = rest.call("GET", f"{API}/experiments/get-by-name?experiment_name={EXPERIMENT}", None)
    experiment = str(found["experiment"]["experiment_id"])
    query = {"experiment_ids": [experiment], "order_by": [f"metrics.{METRIC} DESC"], "max_results": 1}
    runs = rest.call("POST", f"{API}/runs/search", query).get("runs", [])
    if not runs:
        raise ProvisionError(
            "the demo's runs are not on the server",
            where=EXPERIMENT,
            hint=f"`provision doctor {project}` says why",
        )
    return experiment, runs[0]
