"""What the embedded runtime remembers in a stack's data: machine, processes, what was applied; no secret."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from provisioner.errors import PreflightError
from provisioner.model.typed import check_types, types_of
from provisioner.runtimes.embedded.process_id import ProcessId
from provisioner.runtimes.embedded.processes import MEMORY_FILE
from provisioner.system import process
from provisioner.system.files import read_below
from provisioner.system.host import LocalHost

FORMAT = 1


@dataclass(frozen=True)
class Machine:
    """This machine's name, and an identity of this boot, within which process numbers mean something."""

    name: str
    boot: str


@dataclass(frozen=True)
class Memory:
    """What was started, where, and with which configuration."""

    machine: Machine | None = None
    """Where it runs, or ran when it was not ended in order; None when it was."""
    run: str = ""
    """The directory of unix sockets."""
    environment: str = ""
    """The server environment that supervisord was started from."""
    supervisor: ProcessId | None = None
    applied: Mapping[str, str] = field(default_factory=dict)
    """The fingerprint of each service as it was last started."""
    bootstrap: str = ""
    """"" before it ran, `completed`, or what went wrong."""

    @property
    def run_exists(self) -> bool:
        """Return whether the directory of unix sockets is still there; systems clean /tmp."""
        return bool(self.run) and Path(self.run).is_dir()

    def with_(self, **changes: object) -> Memory:
        """Return a copy with these values."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def is_elsewhere(self, here: Machine) -> bool:
        """Return whether another machine runs it.

        A reboot changes the boot alone, and a new host name alone is no other machine.
        """
        return self.machine is not None and self.machine.boot != here.boot and self.machine.name != here.name

    def is_from_before(self, here: Machine) -> bool:
        """Return whether its processes ended with a former boot."""
        return self.machine is not None and self.machine.boot != here.boot


def this_machine() -> Machine:
    """Return this machine; containers are machines of their own, since their process numbers are."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(
            Path("/proc/self/ns/pid").readlink()
        ).removeprefix("pid:")
    except OSError:
        boot = process.run(["sysctl", "-n", "kern.bootsessionuuid"], timeout=10, check=False).text
    return Machine(socket.gethostname(), boot)


def read_memory(directory: Path) -> Memory:
    """Return what the stack's data remembers; the empty memory when there is none.

    Raise PreflightError when it cannot be understood.
    """
    path = directory / MEMORY_FILE
    # The services may write there.
    content = read_below(directory, MEMORY_FILE)
    if content is None:
        return Memory()
    try:
        data = json.loads(content)
        if data.pop("format") != FORMAT:
            raise ValueError("another format")
        check_types(data, types_of(Memory))
        machine = Machine(**data.pop("machine")) if data["machine"] else data.pop("machine")
        supervisor = ProcessId(**data.pop("supervisor")) if data["supervisor"] else data.pop("supervisor")
        return Memory(machine=machine, supervisor=supervisor, **data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PreflightError(
            "what the embedded runtime remembers cannot be understood",
            where=str(path),
            why=str(error),
            hint=(
                "use the version of provision that made it; "
                "or end the stack's processes yourself and remove the file"
            ),
        ) from error


def memory_here(directory: Path, here: Machine) -> Memory:
    """Return what is remembered; raise PreflightError when another machine runs this stack."""
    memory = read_memory(directory)
    if memory.machine and memory.is_elsewhere(here):
        raise PreflightError(
            f"this stack runs on the machine {memory.machine.name}",
            where=str(directory),
            why=f"this is {here.name}; two servers on the same data would destroy it",
            hint=(
                f"`provision down` on {memory.machine.name}; "
                f"if that machine is gone for good, remove {directory / MEMORY_FILE}"
            ),
        )
    return memory


def write_memory(directory: Path, memory: Memory) -> None:
    """Write the memory to the stack's data."""
    content = json.dumps({"format": FORMAT, **asdict(memory)}, indent=2) + "\n"
    LocalHost().put(content.encode(), directory / MEMORY_FILE, 0o600)
