"""What would cut a stack off from its data: a copy of its directory, a lost state, lost data."""

from __future__ import annotations

from pathlib import Path

from provisioner.errors import ProvisionError, WouldLoseData
from provisioner.model.plan import Observed
from provisioner.model.stack import Stack
from provisioner.model.state import parse_state
from provisioner.runtimes.embedded.processes import MEMORY_FILE, POSTGRES_DATA
from provisioner.stack.context import STATE_FILE, StackContext
from provisioner.system.host import LocalHost

_UNCHANGED = "nothing was changed"


def refuse_copy(context: StackContext) -> None:
    """Raise WouldLoseData for the copy of a stack that is still where it was: both would act on one stack.

    A stack that was moved is none, nor is one that is reached by another path.
    """
    made_at = context.state.directory
    if context.host.is_remote or not made_at or made_at == str(context.directory):
        return
    original = Path(made_at)
    if _project_in(original) == context.state.project and not original.samefile(context.directory):
        raise WouldLoseData(
            f"this directory is a copy of the stack in {original}, which is still there",
            where=context.location,
            why="services and volumes are named by what state.json says, the same in both",
            hint=f"use {original}; or move it away, if the copy is to take its place",
            left_as=_UNCHANGED,
        )


def _project_in(directory: Path) -> str:
    """Return the project of the stack in that directory of this machine; "" where none can be seen."""
    path = directory / STATE_FILE
    try:
        return parse_state(LocalHost().get(path), str(path)).project
    except ProvisionError:
        return ""


def refuse_lost_state(context: StackContext) -> None:
    """Raise WouldLoseData where an embedded stack's data is, and nothing says what it was made with."""
    if context.is_made or context.host.is_remote:
        return
    found = [path for path in (MEMORY_FILE, POSTGRES_DATA) if (context.directory / path).exists()]
    if found:
        raise WouldLoseData(
            f"{STATE_FILE} is gone, and a stack's data is here: {', '.join(found)}",
            where=context.location,
            why="it says with which release, runtime and stores the data was made",
            hint=f"put {STATE_FILE} back from a backup; or, to start anew, move data/ away",
            left_as=_UNCHANGED,
        )


def refuse_lost_data(context: StackContext, stack: Stack, observed: Observed) -> None:
    """Raise WouldLoseData where a stack that has worked has no data any more: `up` would make it empty."""
    if context.state.checked and stack.own_backend and not observed.has_data:
        raise WouldLoseData(
            "the data of this stack is gone",
            where=context.location,
            why="it has worked before, and neither database nor artifacts are there",
            hint="put the data back from a backup; or, to start empty, `provision erase` first",
            left_as=_UNCHANGED,
        )
