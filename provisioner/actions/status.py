"""What a stack is doing now: services, versions, addresses, disk, linked projects."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from provisioner.errors import ProvisionError, Unhealthy, WouldLoseData
from provisioner.kedro.link import linked_projects
from provisioner.model.plan import SERVES, Observed
from provisioner.model.stack import Stack
from provisioner.output import Data, LinkedProjects, Reporter, Result, TrackingUri, size
from provisioner.runtimes.base import SERVER, Runtime, Usage, for_memory
from provisioner.stack.checks import is_ready, light_checks
from provisioner.stack.context import StackContext
from provisioner.stack.find import open_made_stack
from provisioner.stack.release import this_release
from provisioner.stack.secrets import lost_secrets, missing_secrets, read_secret, warn_of_open_folder

GOOD = SERVES | {"completed"}


@dataclass(frozen=True)
class ServiceRow:
    """A service as it is now."""

    name: str
    state: str
    detail: str

    @property
    def text(self) -> str:
        """Return what a person reads of it beside its name and state."""
        return self.detail


@dataclass(frozen=True)
class ServiceUsage(ServiceRow):
    """A service as it is now, with what it uses; memory and limit in bytes, each None where nobody knows."""

    memory: int | None = None
    limit: int | None = None
    restarts: int | None = None
    killed: int | None = None

    @property
    def text(self) -> str:
        parts = [self.detail]
        if self.memory is not None:
            limit = f" of {self.limit >> 20}" if self.limit else ""
            parts.append(f"{self.memory >> 20}{limit} MB of memory")
        if self.restarts:
            parts.append("restarted once" if self.restarts == 1 else f"restarted {self.restarts} times")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class TrackingStore:
    """Whether the server's own store answers hot calls, or why MLflow's answers all."""

    fast: bool
    reason: str

    @property
    def text(self) -> str:
        """Return what a person reads of it."""
        return "fast" if self.fast else f"MLflow's own store: {self.reason}"


Services = Annotated[
    tuple[ServiceRow, ...],
    "of each service `name`, `state` (`running`, `starting`, `unhealthy`, `stopped`, `completed`, `failed`, "
    "`missing`), `detail`; of `status` also `memory` and `limit` in bytes, `restarts`, and `killed`: how "
    "often the kernel ended a process of it for want of memory, each null where nobody knows",
]


@dataclass(frozen=True)
class StatusData(Data):
    """What `status` gives; versions and usage while the stack runs."""

    command: ClassVar[str] = "status"

    tracking_uri: TrackingUri
    services: Services
    linked_projects: LinkedProjects
    release: Annotated[dict[str, str], "what the stack is made with: `provision` and `mlflow`"]
    newer_release: Annotated[
        dict[str, str] | None, "`provision` and `mlflow` of this program, where they are newer than `release`"
    ] = None
    versions: Annotated[dict[str, str | None] | None, "`mlflow`, `python`, `postgres`, `schema`"] = None
    tracking_store: Annotated[
        TrackingStore | None,
        "`fast`: whether hot calls are answered by the server's own tracking store; `reason`: why MLflow's "
        "own answers all, else empty",
    ] = None
    usage: Annotated[
        dict[str, int | None] | None,
        "`backend_store_bytes`, `artifact_store_bytes`, `artifact_objects`, "
        "`artifact_free_bytes` (null for a bucket)",
    ] = None


def service_rows(stack: Stack, observed: Observed) -> tuple[ServiceRow, ...]:
    """Return every service as it is now, in start order."""
    rows = []
    for service in stack.services:
        seen = observed.services.get(service.name)
        rows.append(
            ServiceRow(service.name, seen.state, seen.detail)
            if seen
            else ServiceRow(service.name, "missing", "")
        )
    return tuple(rows)


def usage_rows(stack: Stack, observed: Observed, usage: Mapping[str, Usage]) -> tuple[ServiceUsage, ...]:
    """Return every service as it is now, with what it uses where that is known."""
    return tuple(
        ServiceUsage(**asdict(row), **(asdict(usage[row.name]) if row.name in usage else {}))
        for row in service_rows(stack, observed)
    )


def status(option: Path | None, reporter: Reporter) -> Result:
    """Report what runs and what it uses; exit code 6 when the stack is down or unhealthy."""
    context = open_made_stack(option, reporter)
    runtime = context.runtime
    reporter.note("runtime", runtime.kind)
    warn_of_open_folder(context, reporter)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(runtime.usage)
        observed = runtime.observe()
        usage = asked.result()
    rows = usage_rows(context.model, observed, usage)
    for row in rows:
        reporter.row(row.state, row.name, row.text)
    inside = _Inside()
    problem = _lost(context, observed) or service_problem(rows) or _starting(rows, runtime)
    if problem is None:
        inside = _look_inside(context, reporter)
        # It may have been started anew since it was looked at.
        problem = inside.problem and (
            _starting(service_rows(context.model, runtime.observe()), runtime) or inside.problem
        )
    linked = tuple(str(project) for project in linked_projects(str(context.source)))
    lines = [f"memory        {'; '.join(said)}" for name in usage if (said := for_memory(name, usage[name]))]
    lines += [
        *inside.lines,
        f"tracking URI  {context.tracking_uri}",
        *(f"linked        {project}" for project in linked),
    ]
    made_with, ours = context.other_release or this_release(), this_release()
    data = StatusData(
        context.tracking_uri,
        rows,
        linked,
        asdict(made_with),
        asdict(ours) if ours.is_newer_than(made_with) else None,
        inside.facts.get("versions"),
        inside.facts.get("tracking_store"),
        inside.facts.get("usage"),
    )
    return Result(data, tuple(lines), (problem,) if problem else ())


def _lost(context: StackContext, observed: Observed) -> WouldLoseData | None:
    """Return the error where secrets are gone, without which nothing can be asked or started anew."""
    try:
        missing = missing_secrets(context, context.model)
    except ProvisionError:
        # Whoever may not read them can see what runs.
        return None
    return lost_secrets(context, missing, observed.has_data)


def _starting(rows: Iterable[ServiceRow], runtime: Runtime) -> Unhealthy | None:
    """Return the error while the stack is starting and its server has not answered yet; None otherwise."""
    if all(row.state != "starting" for row in rows) or is_ready(runtime):
        return None
    hint = f"`provision status` again in a moment; `provision logs {SERVER}` shows how far it is"
    return Unhealthy("the stack is starting: its tracking server does not answer yet", hint=hint, left_as="")


def service_problem(rows: Collection[ServiceRow]) -> Unhealthy | None:
    """Return what keeps the services from being up; None when all are."""
    bad = [row.name for row in rows if row.state not in GOOD]
    if not bad:
        return None
    all_down = all(row.state in {"missing", "stopped"} for row in rows)
    what = "the stack is down" if all_down else f"not running: {', '.join(bad)}"
    return Unhealthy(what, hint="`provision up` starts it; `provision logs` shows what was said", left_as="")


@dataclass(frozen=True)
class _Inside:
    """What a running stack says of itself, and what is wrong with it."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()
    problem: Unhealthy | None = None


def _look_inside(context: StackContext, reporter: Reporter) -> _Inside:
    stack, runtime = context.model, context.runtime
    password = read_secret(context, "mlflow_admin_password") if stack.login else None
    failed, hint = [], ""
    facts: dict[str, Any] = {}
    with ThreadPoolExecutor() as pool:
        # Each is a program that is started: together they take as long as one.
        asked = {topic: pool.submit(runtime.probe, topic) for topic in ("versions", "usage")}
        for check in light_checks(context.client(password), stack.login):
            reporter.check(check)
            if not check.ok:
                failed.append(check.seen)
                hint = hint or check.hint
        for topic, answer in asked.items():
            try:
                facts[topic] = json.loads(answer.result())
            except (ProvisionError, ValueError) as error:
                failed.append(f"{topic}: {error}")
    facts["tracking_store"] = take_tracking_store(facts.get("versions", {}))
    hint = hint or "`provision logs` shows what the services say"
    problem = Unhealthy("; ".join(failed), hint=hint, left_as="") if failed else None
    return _Inside(facts, _facts_lines(stack, facts), problem)


def take_tracking_store(versions: dict[str, str | None]) -> TrackingStore | None:
    """Take what the probe says of the tracking store from its answer; an older release says nothing."""
    reason = versions.pop("reason_against_fast", None)
    return None if reason is None else TrackingStore(not reason, reason)


def _facts_lines(stack: Stack, facts: Mapping[str, Any]) -> list[str]:
    lines = []
    if versions := facts.get("versions"):
        lines.append(
            f"versions      {', '.join(f'{name} {value}' for name, value in versions.items() if value)}"
        )
    if store := facts.get("tracking_store"):
        lines.append(f"tracking      {store.text}")
    if usage := facts.get("usage"):
        used = [
            f"backend store {size(usage.get('backend_store_bytes'))}",
            f"artifacts {size(usage.get('artifact_store_bytes'))}",
        ]
        if usage.get("artifact_free_bytes") is not None:
            used.append(f"free {size(usage['artifact_free_bytes'])}")
        lines.append(f"disk          {', '.join(used)}")
    lines.append(f"reachable     proxy: {_who(stack)}; stores: only from inside the stack")
    return lines


def _who(stack: Stack) -> str:
    if stack.settings.ssh and stack.settings.server.public_url:
        return f"whoever {stack.settings.server.public_url} is open to, with a login"
    if stack.settings.server.public_url:
        return (
            f"this machine, and whoever {stack.settings.server.public_url} is open to (login "
            f"{stack.settings.server.auth})"
        )
    if stack.login:
        return "this machine, with a login"
    return "everyone with an account on this machine (server.auth: basic asks for a login)"
