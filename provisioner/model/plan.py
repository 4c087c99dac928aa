"""What has to be done to make a stack real: observed against wanted, each step with its cause.

There are no calls to a runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Verb = Literal["create", "start", "change", "reload", "remove"]
State = Literal["running", "starting", "unhealthy", "stopped", "completed", "failed", "missing"]
SERVES = frozenset({"running", "starting"})


@dataclass(frozen=True)
class ObservedService:
    """One service as the runtime sees it; `fingerprint` is the configuration that it was made with."""

    name: str
    state: State
    fingerprint: str = ""
    detail: str = ""
    id: str = ""


@dataclass(frozen=True)
class Observed:
    """One snapshot of what a runtime has of a stack."""

    services: Mapping[str, ObservedService]
    has_data: bool = False


@dataclass(frozen=True)
class PlannedStep:
    """One thing to do, and why."""

    verb: Verb
    subject: str
    cause: str


@dataclass(frozen=True)
class Plan:
    """The steps in order; empty when the stack is as wanted."""

    steps: tuple[PlannedStep, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        return "\n".join(f"{step.verb} {step.subject}: {step.cause}" for step in self.steps)

    @property
    def reloads(self) -> bool:
        """Return whether a service reads its configuration anew while it runs."""
        return any(step.verb == "reload" for step in self.steps)

    @property
    def summary(self) -> str:
        """Return one line.

        For example: `create postgres, mlflow (not there yet); change proxy (its configuration changed)`.
        """
        groups: dict[tuple[str, str], list[str]] = {}
        for step in self.steps:
            groups.setdefault((step.verb, step.cause), []).append(step.subject)
        return "; ".join(
            f"{verb} {', '.join(subjects)} ({cause})" for (verb, cause), subjects in groups.items()
        )


def make_plan(
    desired: Mapping[str, str], one_shots: Iterable[str], observed: Observed, reload: str = ""
) -> Plan:
    """Return the steps from observed to wanted.

    `desired` maps each service, in start order, to its fingerprint. `reload` names a service that reads its
    configuration anew while it runs, where that changed.
    """
    done_once = set(one_shots)
    steps = []
    failed = ""
    for name, fingerprint in desired.items():
        seen = observed.services.get(name, ObservedService(name, "missing"))
        step = _step(name, fingerprint, seen, name in done_once)
        if step is None and failed and name not in done_once:
            # It would wait on with what it read at its start, such as a secret that was put right since.
            step = PlannedStep("start", name, f"waits for {failed}, which has not ended well")
        if step:
            steps.append(step)
            if name in done_once and step.verb == "start":
                failed = name
    if reload and reload not in {step.subject for step in steps}:
        steps.append(PlannedStep("reload", reload, "its configuration changed"))
    for name in observed.services:
        if name not in desired:
            steps.append(PlannedStep("remove", name, "not in the settings any more"))
    return Plan(tuple(steps))


def _step(name: str, fingerprint: str, seen: ObservedService, one_shot: bool) -> PlannedStep | None:
    if seen.state == "missing":
        return PlannedStep("create", name, "not there yet")
    if seen.fingerprint != fingerprint:
        return PlannedStep("change", name, "its configuration changed")
    if seen.state in ({"completed"} if one_shot else SERVES):
        return None
    if one_shot and seen.state in {"failed", "running"}:
        return PlannedStep("start", name, f"has not ended well ({seen.detail or seen.state})")
    return PlannedStep("start", name, seen.detail or seen.state)
