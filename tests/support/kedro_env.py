"""An environment with real Kedro and kedro-mlflow, made once and shared by tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.locks import alone


@dataclass(frozen=True)
class Release:
    """Kedro and kedro-mlflow of one time, and what they then called their datasets."""

    requirements: tuple[str, ...]
    datasets: Mapping[str, str]


PRESENT = Release(
    ("kedro>=1.0,<2", "kedro-mlflow>=2.0,<3", "kedro-datasets>=5.0", "scikit-learn>=1.4", "matplotlib>=3.8"),
    {
        "metric": "MlflowMetricDataset",
        "artifact": "MlflowArtifactDataset",
        "text": "text.TextDataset",
        "inner": "dataset",
    },
)
EARLIER = Release(
    # Without setuptools MLflow of that time is not imported.
    ("kedro==0.18.14", "kedro-mlflow>=0.11.10,<0.12", "setuptools<81"),
    {
        "metric": "MlflowMetricDataSet",
        "artifact": "MlflowArtifactDataSet",
        "text": "text.TextDataSet",
        "inner": "data_set",
    },
)
ONE_NODE = """\
from kedro.pipeline import node, pipeline


def register_pipelines():
    return {"__default__": pipeline([node(lambda: 1, None, "one", name="one")])}
"""


def kedro_environment(release: Release = PRESENT) -> Path:
    """The virtual environment's directory; made by uv at the first call, cached for later ones."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = hashlib.sha256("\n".join((version, *release.requirements)).encode()).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "provision-tests"
    directory = base / f"kedro-{name}"
    with alone(base / f"kedro-{name}.lock"):
        if not (directory / ".complete").exists():
            _make(directory, version, release)
    return directory


def new_project(parent: Path, release: Release = PRESENT) -> Path:
    """A fresh project `demo` of `kedro new`, without tools, example or telemetry."""
    kedro = str(kedro_environment(release) / "bin" / "kedro")
    if release is PRESENT:
        return _kedro_new(kedro, parent, "demo", kedro_variables())
    # Earlier releases are told by a file.
    answers = parent / "answers.yml"
    answers.write_text("output_dir: .\nproject_name: demo\nrepo_name: demo\npython_package: demo\n")
    subprocess.run(
        [kedro, "new", "--config", str(answers)],
        cwd=parent,
        check=True,
        capture_output=True,
        env=kedro_variables(),
    )
    return parent / "demo"


def new_shop(parent: Path, env: Mapping[str, str]) -> Path:
    """A fresh project `shop` with one node, made by the `kedro` of that environment's PATH."""
    project = _kedro_new("kedro", parent, "shop", env)
    (project / "src/shop/pipeline_registry.py").write_text(ONE_NODE)
    return project


def _kedro_new(kedro: str, parent: Path, name: str, env: Mapping[str, str]) -> Path:
    argv = [kedro, "new", "--name", name, "--tools", "none", "--example", "n", "--telemetry", "no"]
    subprocess.run(argv, cwd=parent, check=True, capture_output=True, env=env)
    return parent / name


def kedro_variables() -> dict[str, str]:
    """This process' environment without what would steer Kedro, MLflow or Python."""
    dropped = ("KEDRO_", "MLFLOW_", "PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "DO_NOT_TRACK": "1", "KEDRO_DISABLE_TELEMETRY": "1"}


def _make(directory: Path, version: str, release: Release) -> None:
    from uv import find_uv_bin

    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", version, str(directory)], check=True)
    python = str(directory / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *release.requirements], check=True)
    (directory / ".complete").touch()
