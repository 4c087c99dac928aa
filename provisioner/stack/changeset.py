"""What a change of a stack will do, and the way back to the version that served before, with the logs of what failed kept."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import NotTakenOver, ProvisionError, Unhealthy
from provisioner.model.plan import SERVES, Observed, Plan, PlannedStep, Verb
from provisioner.model.secret import SecretSpec
from provisioner.model.stack import Stack
from provisioner.output import Reporter
from provisioner.runtimes.base import RenderedFile, Runtime
from provisioner.stack.context import make_runtime, stack_port
from provisioner.stack.directory import STATE_FILE, OpenStack
from provisioner.stack.secrets import FILE_MODE, FOLDER

LOG_LINES = 2000
DEADLINE = 120.0
LOGS = "logs"


@dataclass(frozen=True)
class Work:
    """Everything that was decided; `bool()` says whether there is anything to do."""

    stack: Stack
    runtime: Runtime
    port: int
    identity: str
    observed: Observed
    wanted: Mapping[str, str]
    plan: Plan
    files: Mapping[str, RenderedFile]
    missing: list[SecretSpec]
    deadline: float

    def __bool__(self) -> bool:
        return bool(self.plan or self.files or self.missing)


@dataclass(frozen=True)
class Kept:
    """What stood on the server before a change: the content of each file that it replaces, by path in the stack's directory."""

    files: Mapping[str, bytes | None]
    modes: Mapping[str, int]


def keep(opened: OpenStack, work: Work) -> Kept | None:
    """Return what to go back to; None where nothing served, or no service is touched."""
    server = work.observed.services.get("mlflow")
    if not work.plan or server is None or server.state not in SERVES or not opened.state.project:
        return None
    modes = {path: file.mode for path, file in work.files.items()}
    # Of secrets only copies of the user's own files are ever replaced.
    modes |= {f"{FOLDER}/{spec.name}": FILE_MODE for spec in work.missing if spec.from_file}
    modes[STATE_FILE] = 0o644
    there = opened.host.read([opened.directory / path for path in modes])
    return Kept({path: there[opened.directory / path] for path in modes}, modes)


def go_back(opened: OpenStack, kept: Kept, work: Work, error: ProvisionError, reporter: Reporter) -> bool:
    """Go back to the version before; return whether it serves again.

    Say so, or what has to be done, in the error.
    """
    try:
        touched = _touched(work)
        if not touched:
            # It failed before any service was touched, or what had been started beside one was ended.
            logs = f"; the logs of what failed are in {_keep_logs(opened, work, error)}" if isinstance(error, NotTakenOver) else ""
            _restore(opened, kept)
            error.left_as = f"the version before serves, and the rendered files are as before; no service was touched{logs}"
            return True
        logs = _keep_logs(opened, work, error)
        _restore(opened, kept)
        # With the port of then, which is in the environment of Compose.
        runtime = make_runtime(opened, work.stack, opened.state.port or stack_port(opened))
        runtime.apply(_back(work.plan, touched), reporter)
        with reporter.working("waiting for the version before"):
            _wait(runtime, {service.name for service in work.stack.services if service.one_shot})
    except ProvisionError as second:
        error.left_as = f"going back to the version before failed too: {second.what}; its files are in {opened.place}"
        return False
    error.left_as = f"the version before serves again; the logs of what failed are in {logs}"
    reporter.step("restored", "services", "the version before serves again")
    return True


def _touched(work: Work) -> set[str]:
    """Return the services that are not those which were seen before the change."""
    both = (work.observed.services, work.runtime.observe().services)
    before, now = ({name: (seen.id, seen.fingerprint) for name, seen in services.items()} for services in both)
    return {name for name in {*before, *now} if before.get(name) != now.get(name)}


def _back(plan: Plan, touched: Container[str]) -> Plan:
    """Return the steps that undo those of a plan which were carried out."""
    verbs: dict[Verb, Verb] = {"change": "change", "create": "remove", "remove": "create"}
    undone = [step for step in plan.steps if step.verb in verbs and step.subject in touched]
    return Plan(tuple(PlannedStep(verbs[step.verb], step.subject, "back to the version before") for step in undone))


def _keep_logs(opened: OpenStack, work: Work, error: ProvisionError) -> str:
    """Save the last lines of the touched services that failed, else of all touched; return the place."""
    folder = Path(LOGS) / time.strftime("failed-%Y%m%d-%H%M%S", time.gmtime())
    observed = work.runtime.observe().services
    opened.host.make_directory(opened.directory / LOGS, 0o700)
    touched = [step.subject for step in work.plan.steps if step.subject in observed]
    # What runs well says nothing of a failure, and every second counts for those who wait.
    ill = [name for name in touched if observed[name].state not in {"running", "done"}]
    logs = {error.service: error.log} if isinstance(error, NotTakenOver) else dict.fromkeys(ill or touched, "")
    for name, log in logs.items():
        text = log or work.runtime.logs(name, LOG_LINES)
        opened.host.put(text.encode(), opened.directory / folder / f"{name}.log", 0o600)
    return f"{opened.place}/{folder}"


def _restore(opened: OpenStack, kept: Kept) -> None:
    for path, content in kept.files.items():
        if content is not None:
            opened.host.put(content, opened.directory / path, kept.modes[path])
    if gone := [opened.directory / path for path, content in kept.files.items() if content is None]:
        opened.host.remove(*gone)


def _wait(runtime: Runtime, one_shots: set[str]) -> None:
    """Wait until the server is ready, and what runs once has ended; raise Unhealthy at the deadline."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            runtime.probe("ready")
            seen = "" if _ended(runtime, one_shots) else "its bootstrap still runs"
        except ProvisionError as error:
            seen = error.why or error.what
        if not seen:
            return
        if time.monotonic() > end:
            raise Unhealthy("the version before does not get ready", why=seen)
        time.sleep(0.3)


def _ended(runtime: Runtime, names: set[str]) -> bool:
    services = runtime.observe().services
    return not any(services[name].state in SERVES for name in names if name in services)
