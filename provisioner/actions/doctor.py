"""The result of `doctor`: this stack, and what a `kedro run` would use in each environment of a project."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from provisioner.actions.status import service_problem, service_rows
from provisioner.errors import PreflightError, ProvisionError, Unhealthy
from provisioner.kedro.diagnosis import LINK, PYTHON, EnvironmentReport, ProjectReport, project_report
from provisioner.kedro.local_runs import LocalRuns
from provisioner.kedro.project import NotAProject
from provisioner.kedro.record import LinkRecord
from provisioner.model.proxy import public_host
from provisioner.output import CheckResult, Data, KedroProjectPath, Reporter, Result
from provisioner.stack.context import StackContext
from provisioner.stack.find import DEFAULT_REASON, open_stack, stack_here
from provisioner.stack.secrets import warn_of_open_folder
from provisioner.system.certificates import ends_at, names_of, shown_certificate
from provisioner.system.http import RestError

LOGS_HINT = "`provision logs proxy` shows what the proxy says"
SOON = timedelta(days=20)


@dataclass(frozen=True)
class DoctorData(Data):
    """What `doctor` gives; nothing when there is no project."""

    command: ClassVar[str] = "doctor"

    project: KedroProjectPath | None = None
    environments: Annotated[
        tuple[EnvironmentReport, ...] | None,
        "for each Kedro environment `env`, `default`, `uri`, `origin`, `why`, `proved`, `problem`, `hint`, "
        "`remarks` (sentences on what keeps no run away), and `server`: null, or `uri`, `answers`, `api`, "
        "`seen`, `hint`, `proxy`, `experiments` (a number), `bypassing` (experiments whose artifacts do not "
        "go through the server: `experiment_id`, `name`, `artifact_location`), `mlflow` (its release), "
        "`problem` (why it does not take the project's runs), `refuses_login`",
    ] = None
    local_runs: Annotated[
        tuple[LocalRuns, ...] | None,
        "stores in the project's folder that have runs, which stay there: `path`, `runs` (at most 10,000 "
        "are counted), and `command`, which shows them",
    ] = None


def diagnose(project: Path | None, python: Path | None, option: Path | None, reporter: Reporter) -> Result:
    """Diagnose this stack and the project; the exit code is the first error's.

    It is 6 when a plain `kedro run` would not be tracked, or this stack is down.
    """
    errors: list[ProvisionError] = []
    problem, is_default = None, False
    try:
        context = open_stack(option, reporter)
    except PreflightError as error:
        # A colleague may have the settings of a team's server, and no SSH to it; the project can be looked at
        # all the same.
        reporter.check(CheckResult("stack", False, error.what))
        errors.append(error)
    else:
        is_default = context.reason == DEFAULT_REASON
        problem = _diagnose_stack(context, reporter) if context.is_made else None
    report = _project(project, python)
    # A project that another server tracks does without the stack that nobody named.
    if problem and not (is_default and report and report.ok):
        errors.append(problem)
    if report is None:
        return Result(
            DoctorData(), ("no Kedro project here; `provision doctor PROJECT` looks at one",), tuple(errors)
        )
    lines = _show_project(report, reporter)
    if not report.ok:
        errors.append(_untracked(report))
    return Result(
        DoctorData(str(report.project), report.environments, report.local_runs), lines, tuple(errors)
    )


def _project(project: Path | None, python: Path | None) -> ProjectReport | None:
    try:
        return project_report(project or Path.cwd(), what_helps, python=python)
    except NotAProject:
        if project is not None:
            raise
        return None


def what_helps(linked: LinkRecord) -> str:
    """Return what helps where a linked project's server does not answer; "" where nobody knows its stack."""
    if not linked.stack:
        return ""
    stack, project = shlex.quote(linked.stack), shlex.quote(linked.project)
    start, anew = f"`provision up --stack {stack}`", f"`provision link {project} --stack {stack}`"
    context = stack_here(Path(linked.stack))
    if context and context.is_made and context.tracking_uri != linked.uri:
        return f"its stack has another address now: {anew}"
    return f"start the server that the project was linked to: {start}, or link it anew: {anew}"


def _diagnose_stack(context: StackContext, reporter: Reporter) -> ProvisionError | None:
    """Return what keeps the stack from being used; None when nothing does."""
    try:
        warn_of_open_folder(context, reporter)
        context.runtime.preflight()
        problem: ProvisionError | None = service_problem(
            service_rows(context.model, context.runtime.observe())
        )
    except ProvisionError as error:
        problem = error
    seen = problem.what if problem else f"runs at {context.tracking_uri}"
    reporter.check(CheckResult("stack", problem is None, seen))
    return problem or _diagnose_proxy(context, reporter)


def _diagnose_proxy(context: StackContext, reporter: Reporter) -> ProvisionError | None:
    """Return the error when clients do not reach this stack by its proxy or trust its certificate, else None.

    Where the proxy terminates TLS, report its certificate and how long that is valid.
    """
    door, uri = context.proxy, context.tracking_uri
    try:
        context.client().get_bytes("/health")
    except RestError as error:
        reporter.check(CheckResult("certificate" if door.tls else "proxy", False, str(error), error.hint))
        what = "clients do not reach the proxy" + (" by TLS" if door.tls else "")
        return Unhealthy(what, where=uri, why=str(error), hint=error.hint or LOGS_HINT, left_as="")
    if not door.tls:
        return None
    address = urlsplit(f"//{door.address}")
    shown = shown_certificate(
        public_host(context.settings.server), (address.hostname or "", address.port or 0)
    )
    if shown:
        seen = f"for {', '.join(names_of(shown))}, until {ends_at(shown):%Y-%m-%d %H:%M} UTC"
        late = context.settings.server.tls == "files" and ends_at(shown) - datetime.now(timezone.utc) < SOON
        reporter.check(
            CheckResult(
                "certificate",
                True,
                f"{seen}; renew it soon: replace the files, then `provision up`" if late else seen,
            )
        )
    return None


def _show_project(report: ProjectReport, reporter: Reporter) -> tuple[str, ...]:
    """Show each environment, and return lines of what else a person should know."""
    reporter.note("project", str(report.project))
    # Where no interpreter has Kedro, that is all there is to say of both.
    asked = f" [{report.interpreter}]" if report.interpreter != report.kedro else f"; {PYTHON}"
    reporter.note("kedro", f"{report.kedro}{asked}")
    lines = [line for environment in report.environments for line in _show_environment(environment, reporter)]
    return (*lines, *(f"{store.path}: {store.seen}" for store in report.local_runs))


def _untracked(report: ProjectReport) -> Unhealthy:
    """Return the error for a project whose default environment would not be tracked."""
    wrong = [environment for environment in report.environments if environment.default and not environment.ok]
    why = "\n".join(f"{environment.env}: {_seen(environment)}" for environment in wrong)
    what = "a plain `kedro run` would not be tracked"
    return Unhealthy(what, where=str(report.project), why=why, hint=_next_step(wrong[0]) or LINK, left_as="")


def _next_step(environment: EnvironmentReport) -> str:
    """Return what fixes the cause that comes first; "" where that is not known."""
    if environment.problem:
        return environment.hint
    return environment.server.hint if environment.server else ""


def _show_environment(environment: EnvironmentReport, reporter: Reporter) -> list[str]:
    name = f"env {environment.env}" + (" (default)" if environment.default else "")
    # Of the default environment the error says what fixes it.
    hint = "" if environment.ok or environment.default else _next_step(environment)
    reporter.check(CheckResult(name, environment.ok, "; ".join(filter(None, (_seen(environment), hint)))))
    lines = [f"env {environment.env}: {remark}" for remark in environment.remarks]
    server = environment.server
    for experiment in server.bypassing if server else ():
        lines.append(
            f"experiment {experiment.name!r} keeps its artifacts at {experiment.artifact_location}, not "
            "through the server: new files there need a key on every client; log to a new experiment instead"
        )
    return lines


def _seen(environment: EnvironmentReport) -> str:
    """Return what a run would use, where that comes from, and what is wrong with it."""
    source = f"{environment.origin}{', proved by Kedro' if environment.proved else ''}"
    parts = [f"{environment.uri} ({source})"] if environment.uri else []
    if environment.problem:
        parts.append(environment.problem)
    if environment.server:
        parts.append(environment.server.seen)
        parts += [environment.server.proxy, environment.server.problem]
    return "; ".join(part for part in parts if part)
