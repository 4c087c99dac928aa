"""Ask a project's own Kedro what it would use: the interpreter, the question, the answer."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import CommandFailed, LinkRefused
from provisioner.kedro.config import Reader, place_of
from provisioner.kedro.experiment import UNKNOWN, RunExperiment
from provisioner.kedro.project import KedroProject, with_facts
from provisioner.system.process import run

_SCRIPT = Path(__file__).with_name("introspection_script.py")
_HAS_KEDRO = "import importlib.util, sys; sys.exit(importlib.util.find_spec('kedro') is None)"
GIVEN, NAMED = "--python", "--python of an earlier link"
# For all that one command asks a project's Python; a settings.py may do anything, and wait for anything.
_PATIENCE = 30.0
_OWN_RESOLVER = (
    "Kedro has `oc.env` in credentials.yml alone: leave mlflow_tracking_uri out of mlflow.yml, "
    "and set MLFLOW_TRACKING_URI"
)


@dataclass(frozen=True)
class Interpreter:
    """A Python that has Kedro (`path`, else None), how it was found, or why none was.

    It is asked until `deadline`, of the monotonic clock.
    """

    path: Path | None
    reason: str
    deadline: float = field(default_factory=lambda: time.monotonic() + _PATIENCE)

    @property
    def patience(self) -> float:
        """Return the seconds that are left for its answer, at least 0.1."""
        return max(0.1, self.deadline - time.monotonic())


@dataclass(frozen=True)
class Refusal:
    """A value of mlflow.yml that Kedro or kedro-mlflow does not take: its keys, and why."""

    path: tuple[str, ...]
    message: str


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
    experiment: RunExperiment = UNKNOWN
    error: str = ""
    refused: tuple[Refusal, ...] = ()
    """The values that the error is about, where it is about values."""
    uncertain: bool = False
    """Whether a `kedro run`, which has the project's hooks, may do without the error."""


@dataclass(frozen=True)
class Answer:
    """Everything the project's Kedro said; `error` when it could not be asked."""

    environments: Mapping[str, Loaded] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    versions: str = ""
    mlflow: str = ""
    """The release of MLflow's client there."""
    error: str = ""


def choose_interpreter(
    project: KedroProject, given: Path | None, named: str, environ: Mapping[str, str] | None = None
) -> Interpreter:
    """Return the project's own Python, if it has Kedro: the one given, else the first candidate.

    `named` is the one that a user gave for an earlier link, or ""; then the active environment's, the
    project's .venv, this program's.
    """
    if given is not None:
        path = given / "bin" / "python" if given.is_dir() else given
        candidate = Interpreter(path.absolute(), GIVEN)
        lacking = _lacking(candidate)
        return Interpreter(None, f"{given} {lacking}") if lacking else candidate
    tried: list[str] = []
    deadline = time.monotonic() + _PATIENCE
    candidates = _candidates(project, os.environ if environ is None else environ)
    for path, reason in [(Path(named), NAMED), *candidates] if named and Path(named).exists() else candidates:
        candidate = Interpreter(path, reason, deadline)
        lacking = _lacking(candidate)
        if not lacking:
            return candidate
        tried.append(f"{reason} {lacking}")
    return Interpreter(None, ", ".join(tried))


def ask(project: KedroProject, interpreter: Interpreter, environments: Sequence[str]) -> Answer:
    """Ask the project's own loader what it gives in those environments; contact no server."""
    if interpreter.path is None:
        return Answer(error=interpreter.reason)
    python = interpreter.path
    argv = [str(python), "-c", _SCRIPT.read_text(encoding="utf-8"), str(project.path), *environments]
    quiet = {"DO_NOT_TRACK": "1", "KEDRO_DISABLE_TELEMETRY": "1"}
    try:
        done = run(
            argv, cwd=project.path, env={**os.environ, **quiet}, timeout=interpreter.patience, check=False
        )
        document = json.loads(done.stdout)
    except CommandFailed as error:
        return Answer(error=error.what)
    except ValueError:
        last = done.error_text.splitlines()[-1:] or [f"exit code {done.code}"]
        return Answer(error=f"{python} gave no answer: {last[0]}")
    if "error" in document:
        return Answer(error=f"{python}: {document['error']}")
    loaded = {env: _loaded(env, values) for env, values in document["environments"].items()}
    versions = f"kedro {document['kedro']}, kedro-mlflow {document['kedro_mlflow'] or 'absent'}"
    return Answer(loaded, document["facts"], versions, document["mlflow"])


def refusal(project: KedroProject, loaded: Loaded, reader: Reader) -> tuple[str, str]:
    """Say what Kedro does not take in that environment, and what fixes it.

    Each value is named with its file and line.
    """
    parts = []
    for refused in loaded.refused:
        place = place_of(project, loaded.env, refused.path, reader)
        parts.append(": ".join(filter(None, (place, ".".join(refused.path), refused.message))))
    said = "; ".join(parts) or loaded.error
    if loaded.uncertain:
        return (
            said,
            "register the resolver in settings.py, as CONFIG_LOADER_ARGS['custom_resolvers']: "
            "hooks are not run for a proof",
        )
    return said, _OWN_RESOLVER if "oc.env" in said else "correct what it names"


def old_client(release: str) -> str:
    """Say what an MLflow client of that release cannot do with today's servers; "" when nothing is known."""
    major = re.match(r"\d+", release)
    if not major or int(major[0]) >= 2:
        return ""
    return (
        f"MLflow {release} there is too old to register models: "
        "this server has the routes of MLflow 2 and later; runs and artifacts arrive"
    )


def certain_project(project: KedroProject, interpreter: Interpreter) -> KedroProject:
    """Return the project with settings that its files alone do not tell.

    Raise LinkRefused when its own code cannot tell them either.
    """
    if not project.uncertain:
        return project
    names = ", ".join(project.uncertain)
    answer = ask(project, interpreter, [])
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


def _lacking(interpreter: Interpreter) -> str:
    """Return why that Python cannot be asked; "" when it runs and has Kedro."""
    try:
        done = run(
            [str(interpreter.path), "-c", _HAS_KEDRO],
            cwd=Path("/"),
            check=False,
            timeout=interpreter.patience,
        )
    except CommandFailed:
        late = interpreter.deadline <= time.monotonic()
        return f"did not answer within {_PATIENCE:.0f} s" if late else "has no Kedro"
    return "has no Kedro" if done.code else ""


def _loaded(env: str, values: Mapping[str, Any]) -> Loaded:
    if "error" in values:
        refused = tuple(Refusal(tuple(path.split(".")), message) for path, message in values["refused"])
        return Loaded(env, error=str(values["error"]), refused=refused, uncertain=values["uncertain"])
    uri, origin, registry, credentials = (
        str(values[name] or "") for name in ("uri", "origin", "registry", "credentials")
    )
    experiment = RunExperiment(str(values["experiment"] or ""), values["restores"])
    return Loaded(
        env,
        uri,
        origin,
        registry,
        credentials,
        values["login"],
        str(values["problem"]),
        str(values["hint"]),
        experiment,
    )
