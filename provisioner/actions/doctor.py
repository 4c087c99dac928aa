"""What a `kedro run` would use now, in each environment of a project, and whether that works."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provisioner.actions.kedro_layers import Effective, effective, read_layer
from provisioner.actions.kedro_project import KedroProject, environments, find_project
from provisioner.actions.kedro_proof import Answer, Loaded, ask, certain_project, choose_interpreter
from provisioner.actions.link_record import LinkRecord, load_record, record_folder
from provisioner.actions.stack_client import StackRest
from provisioner.errors import LinkRefused, ProvisionError
from provisioner.model.login import PASSWORD, USERNAME
from provisioner.system.certificates import CERT_PATH, clients_ca_file
from provisioner.system.files import read_file
from provisioner.system.proxies import swallowing_proxy
from provisioner.system.rest import Rest, RestError

_SEARCH = "/api/2.0/mlflow/experiments/search"
_PAGE = 1000
_TIMEOUT = 3.0
_OTHER_SERVER = "start the server that the project was linked to (`provision up`), or link it anew (`provision link`)"
LINK = "`provision link` writes the address of a tracking server into the project"
_VARIABLE = re.compile(r"\$\{oc\.env:\s*(\w+)\s*\}")


@dataclass(frozen=True)
class ExperimentReport:
    """An experiment whose artifacts do not go through the server."""

    experiment_id: str
    name: str
    artifact_location: str


@dataclass(frozen=True)
class ServerReport:
    """A tracking server as seen from here: does it answer, does its API, and which experiments bypass it."""

    uri: str
    answers: bool
    api: bool
    seen: str
    hint: str = ""
    proxy: str = ""
    experiments: int = 0
    bypassing: tuple[ExperimentReport, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether clients reach it and may use it."""
        return self.answers and self.api and not self.proxy


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
    """What mends the problem."""

    @property
    def ok(self) -> bool:
        """Whether a run there would be tracked."""
        return not self.problem and self.server is not None and self.server.ok


@dataclass(frozen=True)
class ProjectReport:
    """A project's environments, and the Kedro that was asked (or why none was)."""

    project: Path
    interpreter: str
    kedro: str
    environments: tuple[EnvironmentReport, ...]

    @property
    def ok(self) -> bool:
        """Whether a plain `kedro run` would be tracked."""
        return all(report.ok for report in self.environments if report.default)


def project_report(project: Path, *, python: Path | None = None, timeout: float = _TIMEOUT) -> ProjectReport:
    """Every environment of the project at the path or above it; contacts the servers that its files name."""
    found = find_project(project)
    interpreter = choose_interpreter(found, python)
    found = certain_project(found, interpreter)
    names = environments(found)
    answer = ask(found, interpreter.path, names) if interpreter.path else Answer(error=interpreter.reason)
    linked = _linked(found)
    servers: dict[tuple[str, ...], ServerReport] = {}
    reports = []
    for env in names:
        report, loaded = _environment(found, env, answer)
        if report.uri.startswith(("http://", "https://")):
            key = (report.uri, *_login(found, env, loaded.credentials))
            if key not in servers:
                servers[key] = server_report(*key, identity=linked.identity if linked and linked.uri == report.uri else "", timeout=timeout)
            report = _with_server(report, servers[key], loaded)
        reports.append(report)
    asked = f"{interpreter.path} ({interpreter.reason})" if interpreter.path else interpreter.reason
    return ProjectReport(found.path, asked, answer.error or answer.versions, tuple(reports))


def _linked(project: KedroProject) -> LinkRecord | None:
    """What a link of this account remembers; a damaged record is no reason to say nothing else."""
    try:
        return load_record(record_folder(project.path))
    except ProvisionError:
        return None


def server_report(
    uri: str, username: str = "", password: str = "", ca_file: str = "", *, identity: str = "", timeout: float = _TIMEOUT
) -> ServerReport:
    """The server at the URI, reached directly, its certificate believed as MLflow does; a proxy that clients would take is named.

    `identity` is that of the stack which answered there when the project was linked: another one gets no login.
    """
    proxy = swallowing_proxy(uri, os.environ)
    login = {"username": username, "password": password}
    rest = StackRest(uri, identity=identity, hint=_OTHER_SERVER, timeout=timeout, trusted=clients_ca_file(ca_file), **login)
    started = time.monotonic()
    try:
        rest.get_bytes("/health")
    except RestError as error:
        return ServerReport(uri, False, False, str(error), error.hint or "start it (`provision up`), or link to another address", proxy)
    took = (time.monotonic() - started) * 1000
    try:
        count, bypassing = _experiments(rest)
    except RestError as error:
        return ServerReport(uri, True, False, f"/health answers, the API does not: {error}", _api_hint(error.status), proxy)
    seen = f"/health answered in {took:.0f} ms, {count} experiments"
    hint = "new experiments go through the server; move runs of the old ones, or give them a new name" if bypassing else ""
    return ServerReport(uri, True, True, seen, hint, proxy, count, tuple(bypassing))


def _environment(project: KedroProject, env: str, answer: Answer) -> tuple[EnvironmentReport, Loaded]:
    """The environment as Kedro says it, with the place as the files say it; and what it was that Kedro said."""
    told = effective(project, env, read_file)
    default = env == project.default_env()
    loaded = answer.environments.get(env)
    if loaded is None:
        problem = _problem(told.uri, told.origin, told.why)
        report = EnvironmentReport(
            env, default, told.uri or "", told.origin, told.why, False, problem=problem, hint=LINK if problem else ""
        )
        return report, Loaded(env, credentials=told.credentials)
    if loaded.error:
        problem = f"Kedro cannot load it: {loaded.error}"
        return EnvironmentReport(env, default, "", "error", told.why, True, problem=problem, hint="mend what it says"), Loaded(env)
    elsewhere = _problem(loaded.uri, loaded.origin, told.why)
    problem, hint = (loaded.problem, loaded.hint) if loaded.problem else (elsewhere, LINK if elsewhere else "")
    origin, why = _origin(told, loaded), _why(told, loaded)
    return EnvironmentReport(env, default, loaded.uri, origin, why, True, problem=problem, hint=hint), loaded


def _origin(told: Effective, loaded: Loaded) -> str:
    return told.origin if told.uri == loaded.uri else loaded.origin


def _why(told: Effective, loaded: Loaded) -> str:
    if told.uri is None or told.uri == loaded.uri:
        return told.why
    return f"the project's own code: its files alone would give {told.uri} ({told.why})"


def _problem(uri: str | None, origin: str, why: str) -> str:
    if origin == "error":
        return why
    if uri is None:
        return "only Kedro itself can tell the value, and it was not asked"
    if not uri.startswith(("http://", "https://")):
        return f"{uri} is no tracking server; `provision link` writes one"
    return ""


def _with_server(report: EnvironmentReport, server: ServerReport, loaded: Loaded) -> EnvironmentReport:
    """The report with the server's; where that refuses a run without a login, why the run has none."""
    problem, hint = report.problem, report.hint
    if not problem and report.proved and loaded.credentials and not loaded.login and server.answers and not server.api:
        # kedro-mlflow ignores an entry that is not there.
        problem = f"mlflow.yml names the credentials {loaded.credentials!r}, which no credentials.yml has"
        hint = "`provision link` writes the login where Kedro reads it"
    return replace(report, server=server, problem=problem, hint=hint)


def _login(project: KedroProject, env: str, entry: str) -> tuple[str, str, str]:
    """The login of a run, and the certificates that it trusts: the entry that mlflow.yml names, else this shell's."""
    values: Mapping[str, Any] = {}
    for name in dict.fromkeys((project.base_env, env)):
        try:
            found = read_layer(project, name, "credentials", read_file).data.get(entry)
        except LinkRefused:
            found = None
        values = found if isinstance(found, dict) else values
    return _value(values, USERNAME), _value(values, PASSWORD), _value(values, CERT_PATH)


def _value(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        return os.environ.get(name, "")
    variable = _VARIABLE.fullmatch(value.strip())
    return os.environ.get(variable.group(1), "") if variable else value


def _experiments(rest: Rest) -> tuple[int, list[ExperimentReport]]:
    """How many experiments there are, and those whose location is not the server."""
    count, bypassing, token = 0, [], ""
    while True:
        payload = {"max_results": _PAGE, **({"page_token": token} if token else {})}
        page = rest.call("POST", _SEARCH, payload)
        for found in page.get("experiments", []):
            count += 1
            location = str(found.get("artifact_location", ""))
            if not location.startswith("mlflow-artifacts:"):
                bypassing.append(ExperimentReport(str(found["experiment_id"]), str(found["name"]), location))
        token = str(page.get("next_page_token") or "")
        if not token:
            return count, bypassing


def _api_hint(status: int) -> str:
    return {
        401: "link again: `provision link` writes the login where Kedro reads it",
        403: "the server does not know this address as its own, or the login may not see experiments",
        404: "something else listens there; look at the port",
    }.get(status, "look at the server's log: `provision logs mlflow`")
