"""What every runtime can do; held to by the contract tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from provisioner.errors import PortTaken, PreflightError
from provisioner.model.plan import Observed, Plan
from provisioner.model.stack import Stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.model.stores.postgres import MLFLOW_ROLE
from provisioner.output import Reporter
from provisioner.runtimes.recipe import Recipe
from provisioner.system.host import Host
from provisioner.system.processor import CPUINFO, lacks_for_v2

TOO_OLD_PROCESSOR = "the processor is older than x86-64-v2, which the services need"
NEWER_PROCESSOR = (
    "in a virtual machine, set its processor type to that of the host "
    "(`host` or x86-64-v2, in place of kvm64 or qemu64)"
)
SERVER, PROXY = "mlflow", "proxy"
FIX = "fix what the last lines say, then run `provision up` again"


@dataclass(frozen=True)
class Instance:
    """One stack on one host: its directory, the unique name of its services, and its proxy's port."""

    directory: Path
    project: str
    port: int
    here: Path | None = None
    """The directory of this machine that has the settings of a stack on another."""
    identity: str = ""
    """Which stack it is, for who asks its proxy; "" for one that was never brought up."""
    is_new: bool = False
    """Whether no start of the stack has ended well yet: what is unfinished of its data holds nothing."""
    recipe: Recipe | None = None
    """The files to use as they stand, of a stack that another release made; None: they are rendered."""

    @property
    def source(self) -> Path:
        """Return the directory on this machine that has the files that the settings name."""
        return self.here or self.directory


@dataclass(frozen=True)
class RenderedFile:
    """A file of the stack directory: what stands in it, and its mode."""

    content: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Usage:
    """What a service takes of the memory that it may have, in bytes, and what became of its processes.

    None where nobody knows.
    """

    memory: int | None = None
    limit: int | None = None
    """None: as much as the machine has."""
    restarts: int = 0
    killed: int = 0
    """How often the kernel ended a process of it for want of memory."""


def see_log(name: str) -> str:
    """Return the next step for a service whose last lines are shown."""
    return f"{FIX}; `provision logs {name}` shows more"


def for_memory(name: str, usage: Usage | None) -> tuple[str, str] | None:
    """Return what happened to a service that the kernel ended for lack of memory, and what fixes it.

    Return None for any other service.
    """
    if usage is None or not usage.killed:
        return None
    if usage.limit is None:
        # Whoever sends SIGKILL looks the same.
        what = f"{name} was ended by SIGKILL, as the kernel does when a machine has no memory left"
        return (
            what,
            (
                "look at `free -m`, and at `dmesg` for the kernel's own words; "
                "give the machine more memory, or run less on it"
            ),
        )
    what = f"the kernel has ended {name} for want of memory: it may have {usage.limit >> 20} MB"
    return what, f"raise resources.{name}.memory in provision.yml, then `provision up`"


def check_processor(host: Host) -> None:
    """Raise PreflightError for a processor that ends the services' programs at once."""
    lacking = lacks_for_v2(host.get(CPUINFO))
    if lacking:
        raise PreflightError(
            TOO_OLD_PROCESSOR, where=host.name, why=f"it lacks {', '.join(lacking)}", hint=NEWER_PROCESSOR
        )


def check_stores(stack: Stack) -> None:
    """Raise PreflightError for a store that cannot be had on the stack's runtime."""
    for store in (stack.backend, stack.artifacts):
        if unavailable := store.unavailable(stack.runtime):
            raise unavailable


def psql_options(write: bool) -> str:
    """Return PGOPTIONS for a session as the tracking server's role.

    Without `write` its statements change nothing.
    """
    return f"-c role={MLFLOW_ROLE} -c default_transaction_read_only={'off' if write else 'on'}"


class Runtime(Protocol):
    """Runs the services of one stack; `preflight`, `files`, `desired` and `observe` change nothing."""

    kind: RuntimeKind

    def preflight(self) -> None:
        """Check that the runtime can be used; raise PreflightError with what is missing and how to fix it."""

    def files(self) -> Mapping[str, RenderedFile]:
        """Return the files that this runtime needs in the stack directory, by relative path.

        Of a stack of another release they are those that stand there. Raise PreflightError when a file that
        the settings name cannot be used, or one of another release is not as it was; change nothing.
        """

    def recipe_digests(self, files: Mapping[str, RenderedFile]) -> dict[str, str]:
        """Return the digest of each of these files by path, by which a later release knows them again.

        Those that are copies of the user's have none.
        """

    def desired(self) -> Mapping[str, str]:
        """Return the fingerprint of each service's configuration, by name in start order.

        This works before any file is written.
        """

    def observe(self) -> Observed:
        """Return what runs now, and whether there is data; raise PreflightError when that is not known."""

    def usage(self) -> Mapping[str, Usage]:
        """Return what each long-running service that is there uses now, by name.

        This takes two seconds on Docker.
        """

    def prepare(self, reporter: Reporter) -> None:
        """Do the long work before the first start, once.

        On Docker fetch and build images; else make the server environment.
        """

    def apply(self, plan: Plan, reporter: Reporter) -> None:
        """Carry out the plan; return when every step is done, healthy or not.

        Raise Unhealthy when bootstrap fails.
        """

    def reload(self) -> None:
        """Tell the proxy to read its configuration anew, while it serves.

        When it cannot use that, it goes on with the one before.
        """

    def probe(self, *arguments: str) -> str:
        """Return what the server's own `provision_server probe ARGUMENTS` prints, run inside the stack."""

    def run_job(
        self, role: str, *arguments: str, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
    ) -> None:
        """Run `provision_server ROLE ARGUMENTS` as its own process, with these open files as its streams.

        It may take any time. It has the server's secrets and reaches its stores; what is in memory does not
        grow with what flows. Raise Unhealthy when the stack is down, CommandFailed when the job fails,
        PreflightError where a file of another release's stack was changed. Interrupted, it is ended first.
        """

    def certificate_authority(self) -> bytes | None:
        """Return the root certificate of the proxy's own certificate authority; None while there is none."""

    def logs(self, service: str, lines: int) -> str:
        """Return the last lines that the service wrote."""

    def follow(self, service: str | None, lines: int) -> int:
        """Show logs on this terminal as they come, until interrupted; return the exit code."""

    def psql(self, arguments: Sequence[str], write: bool) -> int:
        """Run PostgreSQL's shell on this terminal, as the tracking server's role; return its exit code."""

    def stop(self, reporter: Reporter) -> None:
        """End every service, proxy first; keep all data."""

    def erase(self, reporter: Reporter) -> None:
        """End every service and delete all data of the stack; the only method that deletes data."""


@dataclass(frozen=True)
class RuntimeChoice:
    """A runtime and the reason why it is that one."""

    kind: RuntimeKind
    reason: str


def port_taken(where: str, why: str, left_as: str) -> PortTaken:
    """Return the error for a proxy whose port another program has."""
    hint = "stop what holds the port, or set another server.port in provision.yml"
    return PortTaken("the proxy's port is taken", where=where, why=why, hint=hint, left_as=left_as)


# What a server takes that has just started; it grows to what the one before it takes.
NEW_SERVER_MB = 400


def may_run_twice(
    stack: Stack, free_mb: int | None, reporter: Reporter, needed_mb: int = NEW_SERVER_MB
) -> bool:
    """Return whether two tracking servers can run side by side for a while; if not, report why.

    `free_mb` is None where it is unknown.
    """
    if stack.settings.server.genai:
        tell_held("its jobs (server.genai) would be run twice", reporter)
    elif free_mb is not None and free_mb < needed_mb:
        tell_held(
            f"{free_mb} MB of memory are free, and another server beside it takes {needed_mb}", reporter
        )
    else:
        return True
    return False


def tell_held_for_stores(names: Iterable[str], reporter: Reporter) -> None:
    """Say that no tracking server runs while these start anew."""
    tell_held(f"{', '.join(sorted(names))} must start anew, which it works with", reporter)


def tell_held(why: str, reporter: Reporter) -> None:
    """Say that the tracking server is ended before the next one starts, and why."""
    reporter.note(
        "waits",
        f"the tracking server is ended before it starts anew, since {why}; "
        "calls are held meanwhile, for 30 s at most",
    )


_DONE = {
    "create": "created",
    "start": "started",
    "change": "changed",
    "reload": "reloaded",
    "remove": "removed",
}


def report_done(plan: Plan, stack: Stack, reporter: Reporter) -> None:
    """Report every step of a plan that was carried out.

    Each has what the service is for, or why it was touched.
    """
    roles = {service.name: service.role for service in stack.services}
    for step in plan.steps:
        detail = roles.get(step.subject, "") if step.verb == "create" else step.cause
        reporter.step(_DONE[step.verb], step.subject, detail)
