"""What every runtime can do; held to by the contract tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from provisioner.errors import PortTaken
from provisioner.model.plan import Observed, Plan
from provisioner.model.stack import RuntimeKind, Stack
from provisioner.output import Reporter


@dataclass(frozen=True)
class Place:
    """One stack on one host: its directory, the unique name of its services, and its front door's port."""

    directory: Path
    project: str
    port: int
    here: Path | None = None
    """The directory of this machine that has the settings of a stack on another."""
    identity: str = ""
    """Which stack it is, for who asks its front door; "" for one that was never brought up."""

    @property
    def source(self) -> Path:
        """Where the files that the settings name are, on this machine."""
        return self.here or self.directory


@dataclass(frozen=True)
class RenderedFile:
    """A file of the stack directory: what stands in it, and its mode."""

    content: bytes
    mode: int = 0o644


class Runtime(Protocol):
    """Runs the services of one stack; `preflight`, `files`, `wanted` and `observe` change nothing."""

    kind: RuntimeKind

    def preflight(self) -> None:
        """Nothing when the runtime can be used; PreflightError says what is missing and how to mend it."""

    def files(self) -> Mapping[str, RenderedFile]:
        """The files that this runtime needs in the stack directory, by relative path; pure."""

    def wanted(self) -> Mapping[str, str]:
        """Each service in start order with the fingerprint of its configuration; works before any file is written."""

    def observe(self) -> Observed:
        """What runs now, and whether there is data; PreflightError when the runtime does not answer."""

    def prepare(self, reporter: Reporter) -> None:
        """Long work before the first start, done once: the server image, or the server environment."""

    def apply(self, plan: Plan, reporter: Reporter) -> None:
        """The plan made real; returns when every step was carried out, healthy or not. Raises Unhealthy when bootstrap fails."""

    def probe(self, *arguments: str) -> str:
        """What the server's own `entrypoint.py probe ARGUMENTS` prints, run inside the stack."""

    def certificate_authority(self) -> bytes | None:
        """The root certificate of the front door's own certificate authority; None while there is none."""

    def logs(self, service: str, lines: int) -> str:
        """The last lines that the service wrote."""

    def follow(self, service: str | None, lines: int) -> int:
        """Shows logs on this terminal as they come, until interrupted; gives the exit code."""

    def stop(self, reporter: Reporter) -> None:
        """Every service ended, front door first; all data stays."""

    def erase(self, reporter: Reporter) -> None:
        """Every service and all data of the stack gone; the only method that deletes data."""


@dataclass(frozen=True)
class RuntimeChoice:
    """A runtime and the reason why it is that one."""

    kind: RuntimeKind
    reason: str


def port_taken(where: str, why: str, left_as: str) -> PortTaken:
    """The error of a front door whose port another program has."""
    hint = "stop what holds the port, or set another server.port in provision.yml"
    return PortTaken("the front door's port is taken", where=where, why=why, hint=hint, left_as=left_as)


_DONE = {"create": "created", "start": "started", "change": "changed", "remove": "removed"}


def report_done(plan: Plan, stack: Stack, reporter: Reporter) -> None:
    """Every step of a plan that was carried out, with what the service is for or why it was touched."""
    roles = {service.name: service.role for service in stack.services}
    for step in plan.steps:
        detail = roles.get(step.subject, "") if step.verb == "create" else step.cause
        reporter.step(_DONE[step.verb], step.subject, detail)
