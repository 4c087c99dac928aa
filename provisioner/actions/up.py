"""Make a stack real: observe, plan, apply, wait, check, link."""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import provisioner
from provisioner.actions.link import link_projects, next_step
from provisioner.actions.relink import relink
from provisioner.actions.status import service_rows
from provisioner.errors import UNCHANGED, PortTaken, PreflightError, ProvisionError, WouldLoseData
from provisioner.kedro.old_login import Ask
from provisioner.kedro.project import find_project
from provisioner.model.plan import Observed, make_plan
from provisioner.model.proxy import redirect_port
from provisioner.model.stack import MLFLOW_VERSION, RuntimeKind, Stack, build_stack
from provisioner.model.stores import IN_CONTAINERS, artifacts_destination
from provisioner.output import Reporter, Result
from provisioner.runtimes.base import PROXY
from provisioner.runtimes.tls_files import front_door_files
from provisioner.stack.audit import changing
from provisioner.stack.ca_bundle import keep_clients_ca
from provisioner.stack.changeset import Work
from provisioner.stack.checks import (
    WAIT_TIMEOUT,
    full_checks,
    light_checks,
    reload_front_door,
    report,
    start_deadline,
    wait_until_answering,
)
from provisioner.stack.context import choose, client, front_door, make_runtime, may_choose_port, next_free_port, stack_port, tracking_uri
from provisioner.stack.directory import OpenStack, changed_files, closed_files, find_stack, refuse_others_files, write_files
from provisioner.stack.secrets import (
    given_anew,
    make_secrets,
    missing_secrets,
    read_secret,
    refuse_lost_secrets,
    refuse_ungiven,
)


@dataclass(frozen=True)
class UpOptions:
    """What the user asked of `up`."""

    stack: Path | None = None
    runtime: RuntimeKind | None = None
    projects: tuple[Path, ...] = ()
    link: bool = True
    dry_run: bool = False
    ask: Ask | None = None


def up(options: UpOptions, reporter: Reporter) -> Result:
    """Bring the stack up, check it, and link projects; change nothing that is already as wanted."""
    opened = find_stack(options.stack)
    opened.announce(reporter)
    for project in options.projects if options.link else ():
        # Before anything is started for it.
        find_project(project)
    if opened.state.project and not opened.state.project.startswith(f"{opened.settings.name}-"):
        reporter.step("warning", "name", f"it is fixed when a stack is made: this one's services stay {opened.state.project}-...")
    result = bring_up(opened, options, reporter, "up")
    if options.dry_run:
        return result
    uri = result.data["tracking_uri"]
    # With what `up` has made of it: another port, an identity.
    opened = opened.again()
    linked = link_projects(opened, uri, options.projects, options.link, reporter, options.ask)
    linked += relink(opened, uri, linked, options.ask if options.link else None, reporter)
    result.data["linked"] = [str(path) for path in linked]
    result.lines = [f"tracking URI  {uri}", f"next          {next_step(linked)}"]
    return result


def bring_up(opened: OpenStack, options: UpOptions, reporter: Reporter, command: str) -> Result:
    """Bring the stack up, check it, and return its address and services; only show the plan in a dry run.

    On a server the version before stays when this one does not get healthy.
    """
    choice = choose(opened, options.runtime)
    reporter.note("runtime", f"{choice.kind} ({choice.reason})")
    result = Result(command, stack=str(opened.source), runtime=choice.kind)
    if options.dry_run:
        work = _decide(opened, choice.kind, reporter)
        result.data = {"tracking_uri": tracking_uri(opened, work.port), "project": opened.project}
        return _shown_only(work, result, reporter)
    with opened.host.lock(opened.directory, command):
        # Another command may have ended just before the lock was ours.
        opened, work = _make(opened.again(), choice.kind, reporter, command)
        rows = service_rows(work.stack, work.runtime.observe())
    result.data = {"tracking_uri": tracking_uri(opened, work.port), "project": opened.project, "services": rows}
    return result


def _make(opened: OpenStack, kind: RuntimeKind, reporter: Reporter, command: str) -> tuple[OpenStack, Work]:
    """Decide, make and check the stack; on another port when its own was taken before the proxy listened."""
    taken: set[int] = set()
    while True:
        work = _decide(opened, kind, reporter, taken)
        try:
            with changing(opened, command, work, reporter):
                opened = _carry_out(opened, work, reporter)
                _check(opened, work, reporter)
        except PortTaken:
            if work.port in taken or not may_choose_port(opened):
                raise
            taken.add(work.port)
            opened = opened.again()
        else:
            return opened, work


def _decide(opened: OpenStack, kind: RuntimeKind, reporter: Reporter, taken: Container[int] = ()) -> Work:
    """Observe and plan; changes nothing. `taken` has ports of which it is known."""
    stack = build_stack(opened.settings, kind)
    port = stack_port(opened)
    identity = opened.state.identity or new_identity()
    runtime = make_runtime(opened, stack, port, identity)
    if opened.state.runtime is None:
        runtime.preflight()
    observed = runtime.observe()
    _refuse_moved_stores(opened, stack, observed)
    missing = missing_secrets(opened, stack)
    refuse_lost_secrets(opened, missing, observed.has_data)
    refuse_ungiven(opened, missing, os.environ)
    missing += given_anew(opened, stack, os.environ, reporter)
    free = _decide_port(opened, observed, port, taken, reporter)
    if free != port:
        runtime = make_runtime(opened, stack, free, identity)
    wanted = runtime.wanted()
    one_shots = [service.name for service in stack.services if service.one_shot]
    rendered = runtime.files()
    files = changed_files(opened, rendered) | closed_files(opened, rendered)
    plan = make_plan(wanted, one_shots, observed, reload=PROXY if front_door_files(files) else "")
    refuse_others_files(opened, files, kind)
    return Work(stack, runtime, free, identity, observed, wanted, plan, files, missing, start_deadline(os.environ))


def new_identity() -> str:
    """Return a new identity for a stack, which no other has."""
    return token_hex(8)


def _carry_out(opened: OpenStack, work: Work, reporter: Reporter) -> OpenStack:
    """Carry out the plan; save the state first, so that an interrupted `up` is finished by the next."""
    state = opened.state.with_(
        project=opened.project,
        runtime=work.stack.runtime,
        port=work.port,
        identity=work.identity,
        mlflow=opened.state.mlflow or MLFLOW_VERSION,
        artifacts=_stores(work.stack),
        made_by=opened.state.made_by or provisioner.__version__,
        secrets=tuple(sorted({*opened.state.secrets, *(spec.name for spec in work.stack.secrets)})),
    )
    if not work:
        reporter.step("unchanged", "services", ", ".join(service.name for service in work.stack.lasting))
        # A stack that was started by hand is remembered from here on.
        return opened.save(state)
    if opened.state.checked and opened.state.port not in {None, work.port}:
        reporter.step("moved", "port", f"{work.port}, was {opened.state.port}: whoever has the old address needs the new one")
    if work.plan:
        reporter.note("plan", work.plan.summary)
    work.runtime.preflight()
    opened = opened.save(state)
    # What runs reads it anew: after all else is as it says.
    late = front_door_files(work.files) if work.plan.reloads else {}
    write_files(opened, {path: file for path, file in work.files.items() if path not in late})
    if work.missing:
        make_secrets(opened, work.missing, os.environ, reporter)
    if work.plan:
        try:
            work.runtime.prepare(reporter)
            work.runtime.apply(work.plan, reporter)
        except ProvisionError as error:
            if error.left_as == UNCHANGED:
                error.left_as = "files and secrets are written, what had started runs on; no data was removed"
            raise
    write_files(opened, late)
    return opened


def _check(opened: OpenStack, work: Work, reporter: Reporter) -> None:
    uri = tracking_uri(opened, work.port)
    password = read_secret(opened, "mlflow_admin_password") if work.stack.login else None
    keep_clients_ca(opened, work.stack, work.runtime, bool(work.plan or work.files), reporter)
    rest = client(front_door(opened, work.port), uri, password)
    with reporter.working("waiting for the tracking server"):
        if PROXY not in {step.subject for step in work.plan.steps if step.verb != "reload"}:
            reload_front_door(client(front_door(opened, work.port), uri, None, WAIT_TIMEOUT), work.runtime, work.deadline)
        # The front door holds a call for a server that is not there yet; meanwhile that could have given up.
        wait_until_answering(client(front_door(opened, work.port), uri, password, WAIT_TIMEOUT), work.runtime, work.deadline)
    wanted = dict(work.wanted)
    if not work.plan and opened.state.checked == wanted:
        report(light_checks(rest, work.stack.login), reporter)
        return
    report(full_checks(rest, work.runtime, work.stack.login), reporter)
    worked = tuple(sorted(spec.name for spec in work.stack.secrets if spec.from_env))
    opened.save(opened.state.with_(checked=wanted, worked=worked))


def _decide_port(opened: OpenStack, observed: Observed, port: int, taken: Container[int], reporter: Reporter) -> int:
    """Return the proxy's port; raise PreflightError when it is taken and no other may be chosen.

    Keep it while our proxy has it or it is free, else take the next free one where `may_choose_port`.
    """
    proxy = observed.services.get("proxy")
    # Started by hand from the rendered files, it listens where those say, and nothing was remembered yet.
    ours = proxy is not None and proxy.state in {"running", "starting", "ill"} and opened.state.port in {port, None}
    server = opened.settings.server
    bind, redirect = server.bind, redirect_port(server, port)
    if ours and port not in taken:
        return port
    if port not in taken and opened.host.is_free(bind, port):
        if redirect is None or opened.host.is_free(bind, redirect):
            return port
        raise _taken(opened, redirect, "proxy (server.http_port in provision.yml)", "server.http_port")
    if may_choose_port(opened) and (free := next_free_port(opened, port, reporter)):
        return free
    raise _taken(opened, port, "proxy (server.port in provision.yml)" if server.port else "proxy (this stack's port)", "server.port")


def _taken(opened: OpenStack, port: int, where: str, setting: str) -> PreflightError:
    return PreflightError(
        f"port {port} is already in use",
        where=where,
        why=f"held by {opened.host.holder(port) or 'a program of another user'}",
        hint=f"stop that program, or set another {setting} in provision.yml",
    )


def _refuse_moved_stores(opened: OpenStack, stack: Stack, observed: Observed) -> None:
    """Raise WouldLoseData when the settings name other stores than those that hold this stack's data."""
    before, now = opened.state.artifacts, _stores(stack)
    if before and before != now and observed.has_data:
        raise WouldLoseData(
            "the settings name other stores than this stack's data is in",
            where="backend_store or artifact_store in provision.yml",
            why=f"it was made with {before}, the settings say {now}",
            hint="put the old values back, or make another stack: `provision init --stack DIR`",
        )


def _stores(stack: Stack) -> str:
    backend = stack.settings.backend_store.uri or "postgres"
    endpoint = stack.settings.artifact_store.endpoint_url
    destination = stack.artifacts if stack.artifacts == "local" else artifacts_destination(stack, IN_CONTAINERS)
    return f"{backend} and {stack.artifacts} {destination}" + (f" at {endpoint}" if endpoint else "")


def _shown_only(work: Work, result: Result, reporter: Reporter) -> Result:
    for spec in work.missing:
        reporter.step("would make", spec.name, spec.purpose)
    for path in work.files:
        reporter.step("would write", path)
    for step in work.plan.steps:
        reporter.step(f"would {step.verb}", step.subject, step.cause)
    if not (work.missing or work.files or work.plan):
        reporter.step("unchanged", "services", ", ".join(service.name for service in work.stack.lasting))
    result.lines = ["nothing was changed (--dry-run)"]
    return result
