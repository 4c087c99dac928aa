"""Kedro projects on disk for tests of `link`: made, linked, compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.kedro.link import Credentials, LinkReport, link
from provisioner.model.secret import Secret
from provisioner.output import Recorder
from provisioner.system.files import read_file

URI = "http://127.0.0.1:5000"
SHARED = "https://mlflow.example.org"
OURS = f'server:\n  mlflow_tracking_uri: "{URI}"\n'
THEIRS = f'server:\n  mlflow_tracking_uri: "{SHARED}"\n'
LOGIN = Credentials("admin", Secret("s3cret'\"word"))
SETTINGS = "CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local'}\n"
SOFT = (
    "CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'local', "
    "'merge_strategy': {'mlflow': 'soft'}}\n"
)
NO_KEDRO = Path("/nonexistent/python")
Tree = dict[str, str]
LOCAL, BASE = "conf/local/mlflow.yml", "conf/base/mlflow.yml"
OLD = "server:\n  mlflow_tracking_uri: http://old\n"


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
    return {
        str(entry.relative_to(path)): read_file(entry) if entry.is_file() else None
        for entry in sorted(path.rglob("*"))
    }


def do_link(project: Path, uri: str = URI, recorder: Recorder | None = None, **options: object) -> LinkReport:
    return link(project, uri, python=NO_KEDRO, reporter=recorder or Recorder(), **options)  # type: ignore[arg-type]


def answering(says: bool, asked: list[str]) -> Callable[[str], bool]:
    """Somebody who says that to each question, which is kept."""

    def answer(question: str) -> bool:
        asked.append(question)
        return says

    return answer


def forget_variables(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    """Leave nothing in the environment that steers a link; what is remembered of links goes to `state`."""
    monkeypatch.setenv("PROVISION_STATE_DIR", str(state))
    for name in [*os.environ]:
        if name == "KEDRO_ENV" or name.startswith("MLFLOW_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
