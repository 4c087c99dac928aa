"""Make a stack real: observe, plan, apply, wait, check, link."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Annotated, ClassVar

from provisioner.actions.link import link_projects, next_step
from provisioner.actions.relink import relink
from provisioner.actions.status import Services, service_rows
from provisioner.errors import UNCHANGED, PortTaken, PreflightError, ProvisionError, WouldLoseData
from provisioner.kedro.old_login import Ask
from provisioner.kedro.project import find_project
from provisioner.model.plan import Observed, make_plan
from provisioner.model.setting_keys import said
from provisioner.model.stack import Stack
from provisioner.model.state import State
from provisioner.model.stores.base import RuntimeKind
from provisioner.output import NOTHING_CHANGED, ComposeProject, Data, Reporter, Result, TrackingUri
from provisioner.runtimes.base import PROXY, RenderedFile, RuntimeChoice
from provisioner.runtimes.choose import choose_runtime
from provisioner.runtimes.tls_files import proxy_files
from provisioner.stack.audit import changing
from provisioner.stack.ca_bundle import keep_clients_ca
from provisioner.stack.changeset import ChangeSet
from provisioner.stack.checks import (
    WAIT_TIMEOUT,
    full_checks,
    light_checks,
    reload_proxy,
    report,
    start_deadline,
    wait_until_answering,
)
from provisioner.stack.context import StackContext
from provisioner.stack.directory import changed_files, closed_files, refuse_others_files, write_files
from provisioner.stack.find import open_stack, reread
from provisioner.stack.port_choice import decide_port
from provisioner.stack.release import refuse_changed_settings, this_release
from provisioner.stack.safeguards import refuse_lost_data
from provisioner.stack.secrets import (
    close_folder,
    given_anew,
    make_secrets,
    missing_secrets,
    read_secret,
    refuse_lost_secrets,
    refuse_ungiven,
)


@dataclass(frozen=True)
class UpData(Data):
    """What `up` gives; of a dry run only the address and the name."""

    command: ClassVar[str] = "up"

    tracking_uri: TrackingUri
    compose_project: ComposeProject
    services: Services | None = None
    linked: Annotated[tuple[str, ...] | None, "directories of the Kedro projects that were linked now"] = None


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
    context = open_stack(options.stack, reporter)
    for project in options.projects if options.link else ():
        # Before anything is started for it.
        find_project(project)
    if context.state.project and not context.state.project.startswith(f"{context.settings.name}-"):
        reporter.warn(
            "name", f"it is fixed when a stack is made: this one's services stay {context.state.project}-..."
        )
    context, rows = bring_up(context, options, reporter, "up")
    if options.dry_run:
        return Result(UpData(context.tracking_uri, context.project), (NOTHING_CHANGED,))
    linked = link_projects(context, options.projects, options.link, reporter, options.ask)
    linked += relink(context, linked, options.ask if options.link else None, reporter)
    data = UpData(context.tracking_uri, context.project, rows, tuple(str(path) for path in linked))
    return Result(data, (f"tracking URI  {context.tracking_uri}", f"next          {next_step(linked)}"))


def bring_up(
    context: StackContext, options: UpOptions, reporter: Reporter, command: str
) -> tuple[StackContext, Services | None]:
    """Bring the stack up and check it; return it as it is now, and its services.

    Only show the plan in a dry run. On a server the version before stays when this one does not get healthy.
    """
    choice = _choose_runtime(context, options.runtime)
    reporter.note("runtime", f"{choice.kind} ({choice.reason})")
    reporter.using(runtime=choice.kind)
    if options.dry_run:
        change = _decide(context, choice.kind, reporter)
        _show_only(change, reporter)
        return change.context, None
    with context.host.lock(context.directory, command):
        # Another command may have ended just before the lock was ours.
        context = _make(reread(context), choice.kind, reporter, command)
        return context, service_rows(context.model, context.runtime.observe())


def _choose_runtime(context: StackContext, option: RuntimeKind | None) -> RuntimeChoice:
    """Return the runtime that a first or later `up` of this stack takes, and why."""
    if context.host.is_remote:
        if option == "embedded":
            raise PreflightError(
                "a stack on another machine runs on Docker", where="--runtime", hint="leave --runtime out"
            )
        return RuntimeChoice("docker", "a stack on another machine runs on it")

    def why_not_docker() -> str:
        try:
            context.with_state(runtime="docker").runtime.preflight()
        except ProvisionError as error:
            return error.what
        return ""

    return choose_runtime(option, context.state.runtime, why_not_docker)


def _make(context: StackContext, kind: RuntimeKind, reporter: Reporter, command: str) -> StackContext:
    """Decide, make and check the stack; on another port when its own was taken before the proxy listened."""
    taken: set[int] = set()
    while True:
        change = _decide(context, kind, reporter, taken)
        try:
            with changing(context, command, change, reporter):
                _carry_out(context, change, reporter)
                _check(change, reporter)
                return change.context
        except PortTaken:
            port = change.context.port
            if port in taken or not context.may_choose_port:
                raise
            taken.add(port)
            context = reread(context)


def _decide(
    context: StackContext, kind: RuntimeKind, reporter: Reporter, taken: Container[int] = ()
) -> ChangeSet:
    """Observe and plan; changes nothing. `taken` has ports of which it is known."""
    target = context.with_state(
        runtime=kind, port=context.port, identity=context.state.identity or new_identity()
    )
    refuse_changed_settings(context.state, context.asked or context.settings)
    stack, runtime = target.model, target.runtime
    if not context.is_made:
        runtime.preflight()
    observed = runtime.observe()
    _refuse_moved_stores(context, stack, observed)
    refuse_lost_data(context, stack, observed)
    missing = missing_secrets(context, stack)
    refuse_lost_secrets(context, missing, observed.has_data)
    refuse_ungiven(context, missing, os.environ)
    missing += given_anew(context, stack, os.environ, reporter)
    port = decide_port(context, observed, taken, reporter)
    if port != target.port:
        target = target.with_state(port=port)
    desired, rendered = target.runtime.desired(), target.runtime.files()
    files = changed_files(context, rendered) | closed_files(context, rendered)
    one_shots = [service.name for service in stack.services if service.one_shot]
    plan = make_plan(desired, one_shots, observed, reload=PROXY if proxy_files(files) else "")
    refuse_others_files(context, files, kind)
    return ChangeSet(
        target,
        _remembered(target, rendered),
        observed,
        desired,
        plan,
        files,
        missing,
        start_deadline(os.environ),
    )


def new_identity() -> str:
    """Return a new identity for a stack, which no other has."""
    return token_hex(8)


def _remembered(target: StackContext, rendered: Mapping[str, RenderedFile]) -> State:
    """Return the state with all that it has of how the stack was made; another release's stays as it is."""
    state, stack, release = target.state, target.model, this_release()
    if target.other_release:
        return state
    return state.with_(
        project=target.project,
        directory=str(target.directory),
        mlflow=release.mlflow,
        artifacts=stack.location,
        made_by=release.provision,
        secrets=tuple(sorted({*state.secrets, *(spec.name for spec in stack.secrets)})),
        settings=said(target.settings),
        services=stack.services,
        recipe=target.runtime.recipe_digests(rendered),
    )


def _carry_out(context: StackContext, change: ChangeSet, reporter: Reporter) -> None:
    """Carry out the plan; save the state first, so that an interrupted `up` is finished by the next."""
    target, runtime = change.context, change.context.runtime
    if not change:
        reporter.step("unchanged", "services", _names(change))
        close_folder(target, reporter)
        # A stack that was started by hand is remembered from here on.
        context.save(change.state)
        return
    if context.state.checked and context.state.port not in {None, target.port}:
        reporter.step(
            "moved",
            "port",
            f"{target.port}, was {context.state.port}: whoever has the old address needs the new one",
        )
    if change.plan:
        reporter.note("plan", change.plan.summary)
    # Who may not run this stack is told so before anything of it changes.
    runtime.preflight()
    close_folder(target, reporter)
    context.save(change.state)
    # What runs reads it anew: after all else is as it says.
    late = proxy_files(change.files) if change.plan.reloads else {}
    write_files(context, {path: file for path, file in change.files.items() if path not in late})
    if change.missing:
        make_secrets(context, change.missing, os.environ, reporter)
    if change.plan:
        try:
            runtime.prepare(reporter)
            runtime.apply(change.plan, reporter)
        except ProvisionError as error:
            if error.left_as != UNCHANGED:
                raise
            raise error.with_(
                left_as="files and secrets are written, what had started runs on; no data was removed"
            ) from error
    write_files(context, late)


def _check(change: ChangeSet, reporter: Reporter) -> None:
    """Wait for the server, check it, remember with what it passed; raise Unhealthy, with what failed."""
    context = change.context
    login, runtime = context.model.login, context.runtime
    password = read_secret(context, "mlflow_admin_password") if login else None
    keep_clients_ca(context, bool(change.plan or change.files), reporter)
    with reporter.working("waiting for the tracking server"):
        if PROXY not in {step.subject for step in change.plan.steps if step.verb != "reload"}:
            reload_proxy(context.client(timeout=WAIT_TIMEOUT), runtime, change.deadline)
        # The proxy holds a call for a server that is not there yet; meanwhile that could have given up.
        wait_until_answering(context.client(password, WAIT_TIMEOUT), runtime, change.deadline)
    desired = dict(change.desired)
    if not change.plan and context.state.checked == desired:
        report(light_checks(context.client(password), login), reporter)
        return
    report(full_checks(context.client(password), runtime, login), reporter)
    worked = tuple(sorted(spec.name for spec in context.model.secrets if spec.from_env))
    context.save(change.state.with_(checked=desired, worked=worked))


def _refuse_moved_stores(context: StackContext, stack: Stack, observed: Observed) -> None:
    """Raise WouldLoseData when the settings name other stores than those that hold this stack's data."""
    before, now = context.state.artifacts, stack.location
    if before and before != now and observed.has_data:
        raise WouldLoseData(
            "the settings name other stores than this stack's data is in",
            where="backend_store or artifact_store in provision.yml",
            why=f"it was made with {before}, the settings say {now}",
            hint="put the old values back, or make another stack: `provision init --stack DIR`",
        )


def _show_only(change: ChangeSet, reporter: Reporter) -> None:
    for spec in change.missing:
        reporter.step("would make", spec.name, spec.purpose)
    for path in change.files:
        reporter.step("would write", path)
    for step in change.plan.steps:
        reporter.step(f"would {step.verb}", step.subject, step.cause)
    if not change:
        reporter.step("unchanged", "services", _names(change))


def _names(change: ChangeSet) -> str:
    return ", ".join(service.name for service in change.context.model.long_running)
