"""A plan carried out with supervisord while the proxy serves: it holds calls, or a new process takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from provisioner.errors import CommandFailed, NotTakenOver, Unhealthy
from provisioner.model.plan import ObservedService, Plan
from provisioner.model.stack import Stack
from provisioner.output import Reporter
from provisioner.runtimes.base import FIX, PROXY, SERVER, may_run_twice, port_taken, tell_held_for_stores
from provisioner.runtimes.embedded.state import Memory, write_memory
from provisioner.runtimes.embedded.supervisor import forget_starts, read_note, read_starts, read_taken, tail
from provisioner.runtimes.embedded.supervisor_rpc import Supervisor
from provisioner.runtimes.embedded.supervisord_conf import LOGS, ProcessSpec
from provisioner.system.memory import available_here_mb
from provisioner.system.wait import wait_for, wait_until

BOOTSTRAP = "bootstrap"
PORT_DEADLINE = 10.0
# The launcher gives it a little less.
TAKE_OVER_DEADLINE = 200.0
ALONE_DEADLINE = 10.0


class Changes:
    """The steps of one plan.

    `desired` has the fingerprints that it leads to, `run` runs a process of the stack to its end.
    """

    def __init__(
        self,
        stack: Stack,
        directory: Path,
        long_running: Sequence[ProcessSpec],
        desired: Mapping[str, str],
        client: Supervisor,
        run: Callable[[Memory, str], object],
        reporter: Reporter,
    ) -> None:
        self._stack = stack
        self._directory = directory
        self._specs = {spec.name: spec for spec in long_running}
        self._stores = set(self._specs) - {SERVER, PROXY}
        self._desired = desired
        self._client = client
        self._run = run
        self._reporter = reporter

    def carry_out(self, plan: Plan, memory: Memory) -> None:
        """Carry out every step but reloads; write the memory along the way."""
        named = {step.subject for step in plan.steps if step.verb != "reload"}
        removed = {step.subject for step in plan.steps if step.verb == "remove"}
        changed = {step.subject for step in plan.steps if step.verb == "change"}
        beside = self._beside(changed, memory)
        memory = self._start_anew(named - {BOOTSTRAP, *beside}, memory)
        if PROXY in named - removed and PROXY not in beside:
            self._wait_for_port(memory)
        if BOOTSTRAP in named - removed:
            memory = self._bootstrap(memory)
        for name in beside:
            memory = self._take_over(name, memory)

    def _beside(self, changed: set[str], memory: Memory) -> list[str]:
        """Return the services that a new process can replace as they run: only what that process is changes.

        Leave out the server when its stores change, or two cannot run side by side; report why in that case.
        """
        names = [
            name
            for name in self._specs
            if name in changed & self._running() - self._stores
            and _process(memory.applied.get(name, "")) == _process(self._desired[name])
        ]
        if SERVER in names and (
            self._stores & changed or not may_run_twice(self._stack, available_here_mb(), self._reporter)
        ):
            names.remove(SERVER)
        return names

    def _start_anew(self, names: set[str], memory: Memory) -> Memory:
        """Stop first what ends, proxy first; then start what starts, all at once; return the new memory."""
        if names & self._stores and SERVER in self._running():
            # It would answer calls with its store's absence; without it the proxy holds them.
            tell_held_for_stores(names & self._stores, self._reporter)
            names = names | {SERVER}
        self._client.reread()
        for name in [
            *sorted(names - set(self._specs)),
            *(name for name in reversed(self._specs) if name in names),
        ]:
            spec = self._specs.get(name)
            self._client.stop(name, spec.grace_seconds if spec else 60)
            applied = {other: value for other, value in memory.applied.items() if other != name}
            if spec:
                self._client.replace_group(name)
                applied[name] = self._desired[name]
            else:
                self._client.remove_group(name)
            memory = memory.with_(applied=applied)
        write_memory(self._directory, memory)
        for name in [name for name in self._specs if name in names]:
            forget_starts(memory, name)
            self._client.start(name)
        return memory

    def _take_over(self, name: str, memory: Memory) -> Memory:
        """Let a new process of the service serve; raise NotTakenOver when it does not get ready.

        Return the new memory once the process before has ended, or after `ALONE_DEADLINE` seconds.
        """
        forget_starts(memory, name)
        self._client.signal(name, "USR2")

        def told() -> tuple[bool, str] | None:
            """Return whether the new process is ready, and if not, why; None while nobody knows."""
            if read_note(memory, name, "ready") is not None:
                return True, ""
            why = read_note(memory, name, "failed")
            return None if why is None else (False, why)

        is_ready, why = wait_for(told, TAKE_OVER_DEADLINE, 0.05) or (False, "")
        if not is_ready:
            raise NotTakenOver(
                f"the new process of {name} does not get ready",
                where=f"service {name}: {why or 'no answer of its launcher'}",
                why=tail(self._log(name), 20),
                hint=FIX,
                left_as="the one before serves; no data was removed",
                service=name,
                log=tail(self._log(name), 2000),
            )
        # For a moment both answer, the one before by what it was started with; with a transfer under way for
        # longer.
        wait_until(lambda: read_note(memory, name, "alone") is not None, ALONE_DEADLINE, 0.05)
        return self._kept(memory, applied={**memory.applied, name: self._desired[name]})

    def _wait_for_port(self, memory: Memory) -> None:
        """Wait until the proxy listens, or a deadline passes.

        Raise PortTaken when another program was quicker.
        """

        def listens() -> bool:
            if read_starts(memory, PROXY):
                return True
            if taken := read_taken(memory, PROXY):
                raise port_taken(PROXY, taken, "the other services run; no data was removed")
            return False

        wait_until(listens, PORT_DEADLINE, 0.02)

    def _bootstrap(self, memory: Memory) -> Memory:
        """Run the one-shot bootstrap to its end; raise Unhealthy with its last lines when it fails."""
        applied = {**memory.applied, BOOTSTRAP: self._desired[BOOTSTRAP]}
        memory = self._kept(memory, applied=applied, bootstrap="was interrupted")
        try:
            self._run(memory, BOOTSTRAP)
        except CommandFailed as failure:
            self._kept(memory, bootstrap=failure.what)
            raise Unhealthy(
                "bootstrap failed: the stores could not be made ready",
                where=str(self._log(BOOTSTRAP)),
                why=tail(self._log(BOOTSTRAP), 20) or failure.what,
                hint="fix what the last line says, then run `provision up` again",
                left_as="the other services run; no data was removed",
            ) from failure
        return self._kept(memory, bootstrap="done")

    def _kept(self, memory: Memory, **changes: object) -> Memory:
        memory = memory.with_(**changes)
        write_memory(self._directory, memory)
        return memory

    def _log(self, service: str) -> Path:
        return self._directory / LOGS / f"{service}.log"

    def _running(self) -> set[str]:
        return {name for name, info in self._client.processes().items() if info.state == "RUNNING"}


def _process(fingerprint: str) -> str:
    """Return the part of a fingerprint that is of what supervisord and the launcher do for the service."""
    return fingerprint.partition(".")[0]


def observed_bootstrap(memory: Memory, *, running: bool) -> ObservedService:
    """Return how bootstrap ended.

    Done counts for as long as the stack runs: at the next start secrets and stores may be others.
    """
    fingerprint = memory.applied[BOOTSTRAP]
    if memory.bootstrap != "done":
        return ObservedService(BOOTSTRAP, "failed", fingerprint, memory.bootstrap)
    return (
        ObservedService(BOOTSTRAP, "completed", fingerprint)
        if running
        else ObservedService(BOOTSTRAP, "stopped", fingerprint)
    )
