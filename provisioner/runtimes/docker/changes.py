"""A plan carried out with Compose while the proxy serves: it holds calls, or another server takes them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from provisioner.errors import CommandFailed, NotTakenOver, ProvisionError
from provisioner.model.plan import SERVES, Plan
from provisioner.model.service import Service, megabytes
from provisioner.model.stack import Stack
from provisioner.output import Reporter
from provisioner.runtimes.base import (
    FIX,
    NEW_SERVER_MB,
    PROXY,
    SERVER,
    Usage,
    for_memory,
    may_run_twice,
    see_log,
    tell_held,
    tell_held_for_stores,
)
from provisioner.runtimes.docker import cli
from provisioner.runtimes.docker.engine import Engine
from provisioner.runtimes.docker.usage import inspect
from provisioner.system.host import Host
from provisioner.system.memory import MEMINFO, available_mb
from provisioner.system.ssh_connection import LOST
from provisioner.system.wait import wait_for

PROBE = ("/opt/venv/bin/python", "-m", "provision_server", "probe")
READY_DEADLINE = 180.0
ONCE_DEADLINE = 300.0
LOG_LINES = 2000


class Changes:
    """The steps of one plan, for the files that are in the stack's directory."""

    def __init__(self, stack: Stack, engine: Engine, host: Host, reporter: Reporter) -> None:
        self._stack = stack
        self._engine = engine
        self._host = host
        self._reporter = reporter

    def carry_out(self, plan: Plan) -> None:
        """Carry out every step but reloads.

        Raise CommandFailed, PreflightError or Unhealthy for the first that fails.

        Compose (2.26 at least) makes a service anew when one changed that it depends on: the proxy would be
        closed for each change of the server behind it. So each service is changed alone, in start order,
        where the proxy runs already.
        """
        observed = cli.parse_containers(self._engine.containers())
        named = {step.subject for step in plan.steps if step.verb not in {"reload", "remove"}}
        if PROXY not in observed or observed[PROXY].state not in SERVES:
            self._up("--remove-orphans")
            return
        stores = named & {service.name for service in self._stack.long_running} - {PROXY, SERVER}
        if stores:
            self._hold(stores)
            named.add(SERVER)
        is_changed = any(step.subject == SERVER and step.verb == "change" for step in plan.steps)
        beside = is_changed and not stores and SERVER in observed and observed[SERVER].state in SERVES
        try:
            for service in self._stack.services:
                if service.name in named:
                    self._change(service, beside)
        except ProvisionError:
            if stores:
                # As it was, or as it is wanted: calls wait for it.
                self._engine.compose("start", SERVER, check=False)
            raise
        for step in plan.steps:
            if step.verb == "remove" and step.subject in observed:
                self._remove(observed[step.subject].id)

    def _change(self, service: Service, beside: bool) -> None:
        if service.one_shot:
            self._run_once(service.name)
        elif service.name == SERVER and beside and self._may_take_over():
            self._take_over()
        else:
            self._up("--no-deps", service.name)

    def _up(self, *arguments: str) -> None:
        self._engine.stream(cli.only_pulls(self._reporter.line), "up", "-d", "--no-build", *arguments)

    def _run_once(self, name: str) -> None:
        """Run the one-shot service to its end; raise CommandFailed unless its exit code is 0."""
        self._up("--no-deps", name)
        for container in cli.containers_of(self._engine.containers(), name):
            code = self._engine.docker("wait", container, timeout=ONCE_DEADLINE).text
            if code != "0":
                raise CommandFailed(
                    f"{name} ended with exit code {code}", where=f"service {name}", hint=see_log(name)
                )

    def _hold(self, stores: set[str]) -> None:
        """Stop the server while its stores change; the proxy holds calls meanwhile."""
        tell_held_for_stores(stores, self._reporter)
        self._engine.compose("stop", SERVER, timeout=300)

    def _may_take_over(self) -> bool:
        """Return whether two servers can run side by side for a while; if not, report why."""
        free = available_mb(self._host.get(Path(MEMINFO)))
        needed = min(NEW_SERVER_MB, megabytes(self._stack.service(SERVER).memory))
        return may_run_twice(self._stack, free, self._reporter, needed)

    def _take_over(self) -> None:
        """Start another server, and end the ones that run once it is ready, so that none loses a call.

        Where another cannot be started beside them, report why and replace them; the proxy then holds calls.
        Raise NotTakenOver when the new one does not get ready.
        """
        before = cli.containers_of(self._engine.containers(), SERVER)
        try:
            self._up("--no-deps", "--no-recreate", "--scale", f"{SERVER}={len(before) + 1}", SERVER)
        except CommandFailed as failure:
            self._remove_new(before)
            # A name or a port that an override gives it can be had once.
            tell_held(
                "another cannot run beside it "
                f"({failure.why.splitlines()[-1] if failure.why else failure.what})",
                self._reporter,
            )
            self._up("--no-deps", SERVER)
            return
        new = [one for one in cli.containers_of(self._engine.containers(), SERVER) if one not in before]
        try:
            for container in new:
                self._wait_until_ready(container)
        except ProvisionError:
            self._remove_new(before)
            raise
        for container in before:
            self._remove(container)

    def _remove_new(self, before: list[str]) -> None:
        with suppress(ProvisionError):
            for container in cli.containers_of(self._engine.containers(), SERVER):
                if container not in before:
                    self._engine.docker("rm", "--force", container)

    def _remove(self, container: str) -> None:
        """Stop the container within its service's grace time and remove it; keep its volumes."""
        self._engine.docker("stop", container, timeout=300)
        self._engine.docker("rm", "--force", container)

    def _wait_until_ready(self, container: str) -> None:
        """Wait until both applications answer.

        Raise NotTakenOver when the server gives up, or at the deadline.
        """

        def is_ready_or_gave_up() -> bool | None:
            if self._is_ready(container):
                return True
            usage, state = self._seen(container)
            return False if usage.restarts or state not in SERVES else None

        if not wait_for(is_ready_or_gave_up, READY_DEADLINE, 0.3):
            raise self._not_ready(container)

    def _seen(self, container: str) -> tuple[Usage, str]:
        return inspect(self._engine, [container])[container], cli.state_of(
            self._engine.containers(), container
        )

    def _is_ready(self, container: str) -> bool:
        try:
            return self._engine.docker("exec", container, *PROBE, "ready", check=False).code == 0
        except CommandFailed as failure:
            if failure.returncode == LOST:
                raise
            # The probe was killed, for want of memory; over SSH that looks as if `docker` had been.
            return False

    def _not_ready(self, container: str) -> NotTakenOver:
        usage, state = self._seen(container)
        log = self._engine.docker("logs", "--tail", str(LOG_LINES), container, check=False)
        text = "\n".join([*log.text.splitlines(), *log.error_text.splitlines()])
        what, hint = for_memory(SERVER, usage) or ("the new tracking server does not get ready", FIX)
        return NotTakenOver(
            what,
            where=f"service {SERVER}: {state}",
            why="\n".join(text.splitlines()[-20:]),
            hint=hint,
            left_as="the server before serves; no data was removed",
            service=SERVER,
            log=text,
        )
