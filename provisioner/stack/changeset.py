"""What a change of a stack will do, and the way back to the version before, the logs of what failed kept."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import NotTakenOver, ProvisionError, Unhealthy
from provisioner.model.plan import SERVES, Observed, Plan, PlannedStep, Verb
from provisioner.model.secret import SecretSpec
from provisioner.model.state import State
from provisioner.output import Reporter
from provisioner.runtimes.base import SERVER, RenderedFile, Runtime, see_log
from provisioner.stack.context import STATE_FILE, StackContext
from provisioner.stack.secrets import FILE_MODE, FOLDER
from provisioner.system.wait import wait_until

LOG_LINES = 2000
DEADLINE = 120.0
LOGS = "logs"


@dataclass(frozen=True)
class ChangeSet:
    """Everything that was decided; `bool()` says whether there is anything to do."""

    context: StackContext
    """The stack as it is to be."""
    state: State
    """What is remembered of it once it is made."""
    observed: Observed
    desired: Mapping[str, str]
    plan: Plan
    files: Mapping[str, RenderedFile]
    missing: list[SecretSpec]
    deadline: float

    def __bool__(self) -> bool:
        return bool(self.plan or self.files or self.missing)


@dataclass(frozen=True)
class Snapshot:
    """What stood on the server before a change: the content of each file that it replaces.

    It is by path in the stack's directory.
    """

    files: Mapping[str, bytes | None]
    modes: Mapping[str, int]


@dataclass(frozen=True)
class Reverted:
    """Whether the version before serves again, and how things were left."""

    serves: bool
    left_as: str


def snapshot(context: StackContext, change: ChangeSet) -> Snapshot | None:
    """Return what to go back to; None where nothing served, or no service is touched."""
    server = change.observed.services.get("mlflow")
    if not change.plan or server is None or server.state not in SERVES or not context.state.project:
        return None
    modes = {path: file.mode for path, file in change.files.items()}
    # Of secrets only copies of the user's own files are ever replaced.
    modes |= {f"{FOLDER}/{spec.name}": FILE_MODE for spec in change.missing if spec.from_file}
    modes[STATE_FILE] = 0o644
    there = context.host.read([context.directory / path for path in modes])
    return Snapshot({path: there[context.directory / path] for path in modes}, modes)


def revert(
    context: StackContext, kept: Snapshot, change: ChangeSet, error: ProvisionError, reporter: Reporter
) -> Reverted:
    """Go back to the version before, because of that error."""
    try:
        touched = _touched(change)
        if not touched:
            # It failed before any service was touched, or what had been started beside one was ended.
            logs = (
                f"; the logs of what failed are in {_keep_logs(change, error)}"
                if isinstance(error, NotTakenOver)
                else ""
            )
            _restore(context, kept)
            return Reverted(
                True,
                "the version before serves, and the rendered files are as before; "
                f"no service was touched{logs}",
            )
        logs = _keep_logs(change, error)
        _restore(context, kept)
        # With the port of then, which is in the environment of Compose.
        runtime = context.runtime_on(context.state.port or context.port)
        runtime.apply(_back(change.plan, touched), reporter)
        with reporter.working("waiting for the version before"):
            _wait(runtime, {service.name for service in change.context.model.services if service.one_shot})
    except ProvisionError as second:
        return Reverted(
            False,
            f"going back to the version before failed too: {second.what}; "
            f"its files are in {context.location}",
        )
    reporter.step("restored", "services", "the version before serves again")
    return Reverted(True, f"the version before serves again; the logs of what failed are in {logs}")


def _touched(change: ChangeSet) -> set[str]:
    """Return the services that are not those which were seen before the change."""
    both = (change.observed.services, change.context.runtime.observe().services)
    before, now = (
        {name: (seen.id, seen.fingerprint) for name, seen in services.items()} for services in both
    )
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def _back(plan: Plan, touched: Container[str]) -> Plan:
    """Return the steps that undo those of a plan which were carried out."""
    verbs: dict[Verb, Verb] = {"change": "change", "create": "remove", "remove": "create"}
    undone = [step for step in plan.steps if step.verb in verbs and step.subject in touched]
    return Plan(
        tuple(PlannedStep(verbs[step.verb], step.subject, "back to the version before") for step in undone)
    )


def _keep_logs(change: ChangeSet, error: ProvisionError) -> str:
    """Save the last lines of the touched services that failed, else of all touched; return the place."""
    folder = Path(LOGS) / time.strftime("failed-%Y%m%d-%H%M%S", time.gmtime())
    context, runtime = change.context, change.context.runtime
    observed = runtime.observe().services
    context.host.make_directory(context.directory / LOGS, 0o700)
    touched = [step.subject for step in change.plan.steps if step.subject in observed]
    # What runs well says nothing of a failure, and every second counts for those who wait.
    failing = [name for name in touched if observed[name].state not in {"running", "completed"}]
    logs = (
        {error.service: error.log}
        if isinstance(error, NotTakenOver)
        else dict.fromkeys(failing or touched, "")
    )
    for name, log in logs.items():
        text = log or runtime.logs(name, LOG_LINES)
        context.host.put(text.encode(), context.directory / folder / f"{name}.log", 0o600)
    return f"{context.location}/{folder}"


def _restore(context: StackContext, kept: Snapshot) -> None:
    for path, content in kept.files.items():
        if content is not None:
            context.host.put(content, context.directory / path, kept.modes[path])
    if gone := [context.directory / path for path, content in kept.files.items() if content is None]:
        context.host.remove(*gone)


def _wait(runtime: Runtime, one_shots: set[str]) -> None:
    """Wait until the server is ready, and what runs once has ended; raise Unhealthy at the deadline."""
    missing: list[str] = []

    def is_ready() -> bool:
        try:
            runtime.probe("ready")
        except ProvisionError as error:
            missing[:] = [error.why or error.what]
            return False
        missing[:] = [] if _ended(runtime, one_shots) else ["its bootstrap still runs"]
        return not missing

    if not wait_until(is_ready, DEADLINE, 0.3):
        raise Unhealthy("the version before does not get ready", why="".join(missing), hint=see_log(SERVER))


def _ended(runtime: Runtime, names: set[str]) -> bool:
    services = runtime.observe().services
    return not any(services[name].state in SERVES for name in names if name in services)
