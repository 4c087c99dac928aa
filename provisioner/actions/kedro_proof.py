"""Ask a project's own Kedro what it would use: the interpreter, the question, the answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.actions.kedro_project import KedroProject, with_facts
from provisioner.errors import CommandFailed, LinkRefused
from provisioner.system.process import run

_SCRIPT = Path(__file__).with_name("loader_script.py")
_HAS_KEDRO = "import importlib.util, sys; sys.exit(importlib.util.find_spec('kedro') is None)"
_DEADLINE = 120


@dataclass(frozen=True)
class Interpreter:
    """A Python that has Kedro (`path`, else None), and how it was found, or why none was."""

    path: Path | None
    reason: str


@dataclass(frozen=True)
class Loaded:
    """What Kedro's own loader gives in one environment; `error` when it gives nothing."""

    env: str
    uri: str = ""
    origin: str = ""
    registry: str = ""
    credentials: str = ""
    login: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why a plain `kedro run` would leave no run on the server."""
    hint: str = ""
    error: str = ""


@dataclass(frozen=True)
class Answer:
    """Everything the project's Kedro said; `error` when it could not be asked."""

    environments: Mapping[str, Loaded] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    versions: str = ""
    error: str = ""


def choose_interpreter(project: KedroProject, given: Path | None, environ: Mapping[str, str] | None = None) -> Interpreter:
    """The project's own Python: the one given, the active environment's, the project's .venv, else this program's, if it has Kedro."""
    if given is not None:
        path = given / "bin" / "python" if given.is_dir() else given
        if has_kedro(path.absolute()):
            return Interpreter(path.absolute(), "--python")
        return Interpreter(None, f"{given} has no Kedro")
    tried: list[str] = []
    for path, reason in _candidates(project, os.environ if environ is None else environ):
        if has_kedro(path):
            return Interpreter(path, reason)
        tried.append(reason)
    return Interpreter(None, f"no Kedro in {', '.join(tried)}")


def has_kedro(python: Path) -> bool:
    """Whether that interpreter runs and has Kedro."""
    try:
        return run([str(python), "-c", _HAS_KEDRO], cwd=Path("/"), check=False, timeout=20).code == 0
    except CommandFailed:
        return False


def ask(project: KedroProject, interpreter: Path, environments: Sequence[str]) -> Answer:
    """What the project's own loader gives in those environments; no server is contacted."""
    argv = [str(interpreter), "-c", _SCRIPT.read_text(encoding="utf-8"), str(project.path), *environments]
    quiet = {"DO_NOT_TRACK": "1", "KEDRO_DISABLE_TELEMETRY": "1"}
    try:
        done = run(argv, cwd=project.path, env={**os.environ, **quiet}, timeout=_DEADLINE, check=False)
        document = json.loads(done.stdout)
    except CommandFailed as error:
        return Answer(error=error.what)
    except ValueError:
        last = done.error_text.splitlines()[-1:] or [f"exit code {done.code}"]
        return Answer(error=f"{interpreter} gave no answer: {last[0]}")
    if "error" in document:
        return Answer(error=str(document["error"]))
    loaded = {env: _loaded(env, values) for env, values in document["environments"].items()}
    versions = f"kedro {document['kedro']}, kedro-mlflow {document['kedro_mlflow'] or 'absent'}"
    return Answer(loaded, document["facts"], versions)


def certain_project(project: KedroProject, interpreter: Interpreter) -> KedroProject:
    """The project with settings that its files alone do not tell; LinkRefused when nobody can tell them."""
    if not project.uncertain:
        return project
    names = ", ".join(project.uncertain)
    answer = ask(project, interpreter.path, []) if interpreter.path else Answer(error=interpreter.reason)
    if answer.error:
        raise LinkRefused(
            f"settings.py computes {names}, and running it failed",
            where=str(project.settings_file),
            why=answer.error,
            hint="name the project's own interpreter with `--python`, or write plain values",
        )
    return with_facts(project, answer.facts)


def _candidates(project: KedroProject, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(name):
            yield Path(environ[name]) / "bin" / "python", f"the active environment ({name})"
    for folder in (".venv", "venv"):
        path = project.path / folder / "bin" / "python"
        if path.exists():
            yield path, f"the project's {folder}"
    yield Path(sys.executable), "the environment of provision"


def _loaded(env: str, values: Mapping[str, Any]) -> Loaded:
    if "error" in values:
        return Loaded(env, error=str(values["error"]))
    texts = {name: str(values[name] or "") for name in ("uri", "origin", "registry", "credentials", "problem", "hint")}
    return Loaded(env, login=values["login"], **texts)
