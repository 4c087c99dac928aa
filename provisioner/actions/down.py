"""End a stack and keep its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from provisioner.errors import Declined
from provisioner.kedro.link import linked_projects
from provisioner.output import Data, LinkedProjects, Reporter, Result
from provisioner.stack.audit import audit
from provisioner.stack.context import StackContext
from provisioner.stack.find import open_stack

AskName = Callable[[str], str]


@dataclass(frozen=True)
class DownData(Data):
    """What `down` gives; nothing for a stack that was never brought up."""

    command: ClassVar[str] = "down"

    linked_projects: LinkedProjects = None


def down(option: Path | None, host: str | None, ask_name: AskName, reporter: Reporter) -> Result:
    """Stop every service and keep all data; for a stack on a server only after its host was named."""
    context = open_stack(option, reporter)
    if not context.is_made:
        return nothing_there(context, DownData(), "this stack was never brought up")
    confirm_host(context, host, ask_name, "ends the team's server")
    with context.host.lock(context.directory, "down"):
        context.runtime.stop(reporter)
        audit(context, "down", "completed")
    projects, linked = linked_to(context)
    return Result(DownData(projects), ("all data is kept; `provision up` starts the stack again", *linked))


def nothing_there(context: StackContext, data: Data, line: str) -> Result:
    """Return the result for a stack that was never brought up; its error where plain Compose may run it."""
    if context.rendered_port is None:
        return Result(data, (line,))
    return Result(data, errors=(context.never_made(),))


def confirm_host(context: StackContext, given: str | None, ask_name: AskName, what: str) -> None:
    """Raise Declined unless the host of a stack on a server is named; ask nothing for a local stack."""
    if not context.host.is_remote:
        return
    name = context.host.name
    said = given if given is not None else ask_name(f"This {what}. Type the host's name ({name}) to go on")
    if said.strip() not in {name, name.rpartition("@")[2]}:
        seen = f"--host is {given}" if given is not None else "it was not typed"
        raise Declined(
            f"{name} was not named",
            where=context.location,
            why=seen,
            hint=f"scripts say it with `--host {name}`",
        )


def linked_to(context: StackContext) -> tuple[tuple[str, ...], list[str]]:
    """Return the linked projects, and a line for each.

    The next `kedro run` of each would wait minutes for the server that is gone.
    """
    projects = tuple(str(project) for project in linked_projects(str(context.source)))
    return projects, [
        f"still linked  {one} (its runs fail until the server is back; `provision unlink {one}`)"
        for one in projects
    ]
