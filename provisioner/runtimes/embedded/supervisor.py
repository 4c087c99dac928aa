"""supervisord of one stack: started detached, found again, and ended with everything below it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import CommandFailed, ProvisionError, Unhealthy
from provisioner.model.plan import ObservedService, State
from provisioner.runtimes.base import Usage
from provisioner.runtimes.embedded.process_id import (
    ProcessId,
    belongs_to,
    is_alive,
    process_id_of,
    terminate,
    wait_for_end,
)
from provisioner.runtimes.embedded.processes import RUN_VARIABLE, Binaries, supervisord_argv
from provisioner.runtimes.embedded.service_user import ServiceUser
from provisioner.runtimes.embedded.state import Memory
from provisioner.runtimes.embedded.supervisor_rpc import ProcessInfo, Refused, Supervisor, Unreachable
from provisioner.runtimes.embedded.supervisord_conf import LOGS, SOCKET, SUPERVISORD_CONF, ProcessSpec
from provisioner.system import process
from provisioner.system.files import LARGEST, open_below, read_below
from provisioner.system.memory import ended_for_memory, used_by
from provisioner.system.wait import wait_for

START_DEADLINE = 30.0
# After supervisord was killed the kernel ends its children; PostgreSQL writes a checkpoint first.
LEFTOVER_DEADLINE = 30.0
FLAPPING_STARTS = 4
FLAPPING_SECONDS = 90.0
_STATES: dict[str, State] = {
    "STOPPED": "stopped",
    "STARTING": "starting",
    "RUNNING": "running",
    "BACKOFF": "unhealthy",
    "STOPPING": "stopped",
    "EXITED": "failed",
    "FATAL": "failed",
}


@dataclass(frozen=True)
class Start:
    """One start of a service, as the launcher noted it."""

    at: float
    process_id: ProcessId


@dataclass(frozen=True)
class Supervision:
    """The processes of one stack: where, as whom, from which programs."""

    directory: Path
    account: ServiceUser
    binaries: Binaries

    def environment(self, run: Path) -> dict[str, str]:
        """Return the variables that supervisord and the launcher are started with."""
        return {
            "PATH": f"{self.binaries.folder}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            RUN_VARIABLE: str(run),
        }

    def connect(self, memory: Memory) -> Supervisor | None:
        """Return supervisord, if it answers; else None."""
        if not memory.run:
            return None
        client = Supervisor(Path(memory.run) / SOCKET)
        try:
            client.pid()
        except Unreachable:
            return None
        return client

    def start(self, run: Path) -> tuple[Supervisor, ProcessId]:
        """Start a new supervisord, with no service started yet; it outlives this command.

        Raise Unhealthy when it does not start.
        """
        argv = supervisord_argv(self.binaries, SUPERVISORD_CONF)
        try:
            process.run(
                argv,
                cwd=self.directory,
                env=self.environment(run),
                identity=self.account.identity,
                timeout=START_DEADLINE,
            )
        except CommandFailed as failure:
            raise self._not_started(failure.why) from failure
        client = Supervisor(run / SOCKET)

        def answering() -> ProcessId | None:
            with suppress(Unreachable):
                return process_id_of(client.pid())
            return None

        process_id = wait_for(answering, START_DEADLINE, 0.02)
        if process_id is None:
            raise self._not_started(tail(self.directory / LOGS / "supervisord.log", 20))
        return client, process_id

    def observe(self, spec: ProcessSpec, info: ProcessInfo | None, memory: Memory) -> ObservedService:
        """Return one service as it is now."""
        fingerprint = memory.applied.get(spec.name, "")
        if not fingerprint:
            return ObservedService(spec.name, "missing")
        starts = read_starts(memory, spec.name)
        if info is not None:
            state, detail = _state(info, starts)
            if state in {"unhealthy", "failed"}:
                detail = read_taken(memory, spec.name) or detail
            return ObservedService(spec.name, state, fingerprint, detail, str(info.pid or ""))
        if starts and is_alive(starts[-1].process_id):
            return ObservedService(
                spec.name,
                "unhealthy",
                fingerprint,
                "it runs, but supervisord, which keeps it alive, is gone",
            )
        if memory.supervisor and not memory.run_exists and is_alive(memory.supervisor):
            return ObservedService(
                spec.name, "unhealthy", fingerprint, f"its directory of sockets {memory.run} was removed"
            )
        return ObservedService(spec.name, "stopped", fingerprint, "")

    def usage(self, spec: ProcessSpec, info: ProcessInfo | None, memory: Memory) -> Usage:
        """Return what the service uses.

        A process that was killed counts as ended for memory where the kernel has ended any for that.
        """
        killed = _count(
            self.directory / LOGS / "supervisord.log", f"exited: {spec.name} (terminated by SIGKILL"
        )
        killed += _count(self.directory / LOGS / f"{spec.name}.log", f"{spec.name}: killed by SIGKILL")
        return Usage(
            used_by(info.pid) if info and info.pid else None,
            restarts=max(0, len(read_starts(memory, spec.name)) - 1),
            killed=min(killed, ended_for_memory()) if killed else 0,
        )

    def end_all(self, client: Supervisor | None, long_running: Sequence[ProcessSpec], memory: Memory) -> None:
        """End every process of the stack; raise Unhealthy when one does not end.

        Services end in the opposite of their start order, then supervisord, then what was left over.
        """
        names = [spec.name for spec in long_running]
        process_ids = [starts[-1].process_id for name in names if (starts := read_starts(memory, name))]
        own = self._own([memory.supervisor] if memory.supervisor else [])
        if client:
            with suppress(Unreachable, Refused):
                own = self._own([process_id] if (process_id := process_id_of(client.pid())) else [])
                for spec in reversed(long_running):
                    client.stop(spec.name, spec.grace_seconds)
                client.shutdown()
                wait_for_end(own, 10)
        grace = sum(spec.grace_seconds for spec in long_running)
        # SIGTERM makes supervisord end its children in order first.
        left = terminate(own, signal.SIGTERM, grace)
        late = wait_for_end(self._own(process_ids), LEFTOVER_DEADLINE)
        left += terminate(late, signal.SIGINT, LEFTOVER_DEADLINE)
        if left:
            raise Unhealthy(
                f"process {left[0].pid} of this stack does not end",
                where=str(self.directory),
                why="not even SIGKILL ended it: it waits for a disk or a device",
                hint="look at that disk, or restart the machine",
                left_as="the other processes were ended; no data was removed",
            )

    def _own(self, process_ids: Sequence[ProcessId]) -> list[ProcessId]:
        """Return those that run as the account: the list comes from files that the account can write."""
        return [
            process_id
            for process_id in process_ids
            if is_alive(process_id) and belongs_to(process_id, self.account.uid)
        ]

    def _not_started(self, why: str) -> Unhealthy:
        return Unhealthy(
            "supervisord, which keeps the services alive, does not start",
            where=str(self.directory / LOGS / "supervisord.log"),
            why=why,
            hint="fix what it says, then run `provision up` again",
            left_as="no service was started; no data was removed",
        )


def read_starts(memory: Memory, name: str) -> list[Start]:
    """Return the last starts of that service in this run of the stack."""
    starts = []
    for line in (_read_run(memory, f"{name}.starts") or "").splitlines():
        with suppress(ValueError):
            at, pid, started = line.split()
            # Where the launcher cannot know the kernel's start time, the clock's stands in for it.
            starts.append(Start(float(at), ProcessId(int(pid), started if started != "-" else at)))
    return starts


def read_taken(memory: Memory, name: str) -> str:
    """Return which port of that service another program had when it was last started; "" for none.

    The words are the launcher's.
    """
    return read_note(memory, name, "taken") or ""


def read_note(memory: Memory, name: str, kind: str) -> str | None:
    """Return what the launcher of that service has written of its last start; None where it has not.

    It tells which port was `taken`, whether the process is `ready` or has `failed`, or that it is `alone`, as
    the process before has ended.
    """
    found = _read_run(memory, f"{name}.{kind}")
    return None if found is None else found.strip()


def _read_run(memory: Memory, name: str) -> str | None:
    """Return a file of the directory of unix sockets; None where there is none that can be used."""
    run = Path(memory.run)
    if not memory.run:
        return None
    with suppress(ProvisionError):
        content = read_below(run.parent, f"{run.name}/{name}")
        return None if content is None else content.decode(errors="replace")
    return None


def forget_starts(memory: Memory, name: str) -> None:
    """Remove the notes on the service's starts: starts that somebody asked for are no sign of a fault."""
    for kind in ("starts", "taken", "ready", "failed", "alone"):
        with suppress(OSError):
            (Path(memory.run) / f"{name}.{kind}").unlink()


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a log and, where it was just rotated, of the one before."""
    found: list[str] = []
    for one in (path, path.with_name(f"{path.name}.1")):
        if len(found) < lines:
            # What is no file of the services' own shows nothing.
            with suppress(OSError, ProvisionError), open_below(one.parent, one.name) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 400 * lines))
                text = file.read(LARGEST).decode(errors="replace")
                found = text.splitlines()[-(lines - len(found)) :] + found
    return "\n".join(found[-lines:])


def _count(log: Path, text: str) -> int:
    with suppress(ProvisionError):
        return (read_below(log.parent, log.name) or b"").decode(errors="replace").count(text)
    return 0


def _state(info: ProcessInfo, starts: Sequence[Start]) -> tuple[State, str]:
    state = _STATES.get(info.state, "failed")
    recent = [start for start in starts if time.time() - start.at < FLAPPING_SECONDS]
    if state in {"running", "starting"} and len(recent) >= FLAPPING_STARTS:
        return "unhealthy", f"started {len(recent)} times within {FLAPPING_SECONDS:.0f} s"
    if state == "running":
        return state, f"pid {info.pid}, up {info.up_seconds} s"
    return state, info.detail
