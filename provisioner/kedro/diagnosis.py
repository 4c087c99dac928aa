"""What a `kedro run` would use now, in each environment of a project, and whether that works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.errors import ProvisionError
from provisioner.kedro.config import EffectiveConfig, effective
from provisioner.kedro.experiment import RunExperiment
from provisioner.kedro.introspection import (
    Answer,
    Loaded,
    ask,
    certain_project,
    choose_interpreter,
    old_client,
    refusal,
)
from provisioner.kedro.local_runs import LocalRuns, local_runs
from provisioner.kedro.project import KedroProject, environments, find_project
from provisioner.kedro.record import LinkRecord, load_record, record_folder
from provisioner.kedro.run_login import RunLogin, refused_login, run_login
from provisioner.kedro.server_report import TIMEOUT, ServerReport, server_report
from provisioner.system.files import read_file

WRITES = "writes the address of a tracking server into the project"
LINK = f"`provision link` {WRITES}"
PYTHON = "name the project's own interpreter: `provision doctor --python PATH`"
_RELEASE = re.compile(r"\d+")


@dataclass(frozen=True)
class EnvironmentReport:
    """What a `kedro run` in one environment would use, and why; `proved` when Kedro itself said so."""

    env: str
    default: bool
    uri: str
    origin: str
    why: str
    proved: bool
    server: ServerReport | None = None
    problem: str = ""
    hint: str = ""
    """What fixes the problem."""
    remarks: tuple[str, ...] = ()
    """What keeps no run from the server, and is not as its user may think."""

    @property
    def ok(self) -> bool:
        """Return whether a run there would be tracked."""
        return not self.problem and self.server is not None and self.server.ok


@dataclass(frozen=True)
class ProjectReport:
    """A project's environments, and the Kedro that was asked (or why none was)."""

    project: Path
    interpreter: str
    kedro: str
    environments: tuple[EnvironmentReport, ...]
    local_runs: tuple[LocalRuns, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether a plain `kedro run` would be tracked."""
        return all(report.ok for report in self.environments if report.default)


def project_report(
    project: Path,
    what_helps: Callable[[LinkRecord], str],
    *,
    python: Path | None = None,
    timeout: float = TIMEOUT,
) -> ProjectReport:
    """Report on every environment of the project at the path or above it.

    This contacts the servers that the environments use. `what_helps` says what helps where the server that
    the project was linked to does not answer; "" where that is not known.
    """
    found = find_project(project)
    linked = _linked(found)
    interpreter = choose_interpreter(found, python, linked.python if linked else "")
    found = certain_project(found, interpreter)
    names = environments(found)
    answer = ask(found, interpreter, names)
    fix = what_helps(linked) if linked else ""
    servers: dict[tuple[str, RunExperiment, str, str, str], ServerReport] = {}
    reports = []
    for env in names:
        report, loaded = _environment(found, env, answer)
        if report.uri.startswith(("http://", "https://")):
            there = linked if linked and linked.uri == report.uri else None
            login = run_login(found, env, loaded.credentials)
            key = (report.uri, loaded.experiment, login.username, login.password.reveal(), login.ca_file)
            if key not in servers:
                identity, help_there = (there.identity, fix) if there else ("", "")
                servers[key] = server_report(*key, identity=identity, remedy=help_there, timeout=timeout)
            report = _with_server(report, servers[key], loaded, answer.mlflow)
            report = _with_login(report, loaded, login, there)
        reports.append(report)
    asked = f"{interpreter.path} ({interpreter.reason})" if interpreter.path else interpreter.reason
    return ProjectReport(
        found.path, asked, answer.error or answer.versions, tuple(reports), tuple(local_runs(found.path))
    )


def _linked(project: KedroProject) -> LinkRecord | None:
    """Return what a link of this account recorded; None without one, or when its record is damaged."""
    try:
        return load_record(record_folder(project.path))
    except ProvisionError:
        return None


def _environment(project: KedroProject, env: str, answer: Answer) -> tuple[EnvironmentReport, Loaded]:
    """Return the report of the environment, and what Kedro loaded there.

    The values are Kedro's, or those of the files where it cannot tell; the place is as the files say it.
    """
    told = effective(project, env, read_file)
    default = env == project.default_env()
    loaded = answer.environments.get(env)
    if loaded is None or loaded.uncertain:
        said, fix = refusal(project, loaded, read_file) if loaded else (answer.error, PYTHON)
        problem, hint = _problem(told.uri, told.origin, told.why, "" if default else env)
        if told.uri is None and not problem:
            problem, hint = f"only Kedro itself can tell the value: {said}", fix
        remarks = (f"not proved: {said}",) if loaded else ()
        report = EnvironmentReport(
            env,
            default,
            told.uri or "",
            told.origin,
            told.why,
            False,
            problem=problem,
            hint=hint,
            remarks=remarks,
        )
        return report, Loaded(env, credentials=told.credentials)
    if loaded.error:
        said, hint = refusal(project, loaded, read_file)
        problem = f"Kedro cannot load it: {said}"
        return EnvironmentReport(
            env, default, "", "error", told.why, True, problem=problem, hint=hint
        ), Loaded(env)
    problem, hint = (
        (loaded.problem, loaded.hint)
        if loaded.problem
        else _problem(loaded.uri, loaded.origin, told.why, "" if default else env)
    )
    origin, why = _origin(told, loaded), _why(told, loaded)
    return EnvironmentReport(env, default, loaded.uri, origin, why, True, problem=problem, hint=hint), loaded


def _origin(told: EffectiveConfig, loaded: Loaded) -> str:
    return told.origin if told.uri == loaded.uri else loaded.origin


def _why(told: EffectiveConfig, loaded: Loaded) -> str:
    if told.uri is None or told.uri == loaded.uri:
        return told.why
    return f"the project's own code: its files alone would give {told.uri} ({told.why})"


def _problem(uri: str | None, origin: str, why: str, env: str) -> tuple[str, str]:
    """Return why a run with that address is on no tracking server, and what fixes it.

    Both are "" when it is on one, or the files do not tell the address. `env` is "" for the default
    environment.
    """
    if origin == "error":
        return why, "correct what it names"
    if uri is not None and not uri.startswith(("http://", "https://")):
        return (
            f"{uri} is no tracking server",
            f"`provision link --env {shlex.quote(env)}` {WRITES}" if env else LINK,
        )
    return "", ""


def _with_server(
    report: EnvironmentReport, server: ServerReport, loaded: Loaded, client: str
) -> EnvironmentReport:
    """Return the report with the server's, and with remarks on its registry and its client."""
    remarks = (
        *report.remarks,
        *_on_registry(loaded.registry, report.uri),
        *client_remarks(client, server.mlflow),
    )
    return replace(report, server=server, remarks=remarks)


def _with_login(
    report: EnvironmentReport, loaded: Loaded, login: RunLogin, linked: LinkRecord | None
) -> EnvironmentReport:
    """Return the report; where its server refuses the run's login, or a run without one, with the cause."""
    server = report.server
    if report.problem or server is None or not server.answers or server.api:
        return report
    problem, hint = refused_login(login, report.uri, "" if report.default else report.env, linked)
    if report.proved and loaded.credentials and not loaded.login:
        # kedro-mlflow ignores an entry that is not there.
        problem = f"mlflow.yml names the credentials {loaded.credentials!r}, which no credentials.yml has"
    elif not server.refuses_login:
        return report
    return replace(report, problem=problem, hint=hint)


def _on_registry(registry: str, uri: str) -> list[str]:
    elsewhere = registry and registry.rstrip("/") != uri.rstrip("/")
    return [f"models are registered at {registry}, not on this server"] if elsewhere else []


def client_remarks(client: str, server: str) -> list[str]:
    """Say what becomes of a client whose release is not the server's; both as `3.17.2`, "" where unknown."""
    if old := old_client(client):
        return [old]
    releases = [tuple(map(int, _RELEASE.findall(version)[:2])) for version in (client, server)]
    if all(releases) and releases[0] > releases[1]:
        return [
            f"MLflow {client} there is newer than the server's {server}, "
            "which refuses what it does not know yet"
        ]
    return []
