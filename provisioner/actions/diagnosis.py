"""The result of `doctor`: this stack, and what a `kedro run` would use in each environment of a project."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from provisioner.actions.doctor import EnvironmentReport, ProjectReport, project_report
from provisioner.actions.kedro_project import NotAProject
from provisioner.actions.runtime import existing_runtime, stack_port, tracking_uri
from provisioner.actions.stack_directory import OpenStack, find_stack
from provisioner.actions.status import service_problem, service_rows
from provisioner.errors import ProvisionError, Unhealthy
from provisioner.output import CheckResult, Reporter, Result


def diagnose(project: Path | None, option: Path | None, reporter: Reporter) -> Result:
    """What was found; exit code 6 when a plain `kedro run` would not be tracked, or this stack is down."""
    opened = find_stack(option)
    reporter.note("stack", f"{opened.directory} ({opened.reason})")
    result = Result("doctor", stack=str(opened.directory), runtime=opened.state.runtime or "")
    if opened.state.runtime:
        _diagnose_stack(opened, result, reporter)
    report = _project(project)
    if report is None:
        result.lines.append("no Kedro project here; `provision doctor PROJECT` looks at one")
    else:
        _diagnose_project(report, result, reporter)
    if result.errors:
        result.exit_code = result.errors[0].exit_code
    return result


def _project(project: Path | None) -> ProjectReport | None:
    try:
        return project_report(project or Path.cwd())
    except NotAProject:
        if project is not None:
            raise
        return None


def _diagnose_stack(opened: OpenStack, result: Result, reporter: Reporter) -> None:
    existing = existing_runtime(opened)
    if existing is None:
        return
    stack, runtime = existing
    try:
        runtime.preflight()
        problem: ProvisionError | None = service_problem(service_rows(stack, runtime.observe()))
    except ProvisionError as error:
        problem = error
    uri = tracking_uri(opened, stack_port(opened))
    reporter.check(CheckResult("stack", problem is None, problem.what if problem else f"runs at {uri}"))
    if problem:
        result.errors.append(problem)


def _diagnose_project(report: ProjectReport, result: Result, reporter: Reporter) -> None:
    reporter.note("project", str(report.project))
    reporter.note("kedro", f"{report.kedro} [{report.interpreter}]")
    for environment in report.environments:
        _show_environment(environment, result, reporter)
    result.data["project"] = str(report.project)
    result.data["environments"] = [asdict(environment) for environment in report.environments]
    if not report.ok:
        result.errors.append(
            Unhealthy(
                "a plain `kedro run` would not be tracked",
                where=str(report.project),
                why="\n".join(f"{e.env}: {_seen(e)}" for e in report.environments if e.default),
                hint="`provision up` starts this stack; `provision link` writes its address into the project",
                left_as="",
            )
        )


def _show_environment(environment: EnvironmentReport, result: Result, reporter: Reporter) -> None:
    name = f"env {environment.env}" + (" (default)" if environment.default else "")
    reporter.check(CheckResult(name, environment.ok, _seen(environment)))
    server = environment.server
    for experiment in server.bypassing if server else ():
        result.lines.append(
            f"experiment {experiment.name!r} keeps its artifacts at {experiment.artifact_location}, not through the server: "
            "new files there need a key on every client; log to a new experiment instead"
        )


def _seen(environment: EnvironmentReport) -> str:
    """What a run would use, where that comes from, and what is wrong with it."""
    parts = [f"{environment.uri} ({environment.origin}{', proved by Kedro' if environment.proved else ''})"]
    if environment.problem:
        parts.append(environment.problem)
    if environment.server:
        parts.append(environment.server.seen)
        if environment.server.proxy:
            parts.append(environment.server.proxy)
    if not environment.ok and environment.server and environment.server.hint:
        parts.append(environment.server.hint)
    return "; ".join(part for part in parts if part)
