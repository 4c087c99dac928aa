"""End a stack and keep its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from provisioner.errors import Declined
from provisioner.kedro.link import linked_projects
from provisioner.output import Reporter, Result
from provisioner.stack.audit import audit
from provisioner.stack.context import existing_runtime
from provisioner.stack.directory import OpenStack, find_stack

AskName = Callable[[str], str]


def down(option: Path | None, host: str | None, ask_name: AskName, reporter: Reporter) -> Result:
    """Stop every service and keep all data; for a stack on a server only after its host was named."""
    opened = find_stack(option)
    opened.announce(reporter)
    result = Result("down", stack=str(opened.source))
    existing = existing_runtime(opened)
    if existing is None:
        result.lines = ["this stack was never brought up"]
        return result
    _, runtime = existing
    result.runtime = runtime.kind
    confirm_host(opened, host, ask_name, "ends the team's server")
    with opened.host.lock(opened.directory, "down"):
        runtime.stop(reporter)
        audit(opened, "down", "done")
    projects, linked = linked_to(opened)
    result.data["linked"] = projects
    result.lines = ["all data is kept; `provision up` starts the stack again", *linked]
    return result


def confirm_host(opened: OpenStack, given: str | None, ask_name: AskName, what: str) -> None:
    """Raise Declined unless the host of a stack on a server is named; ask nothing for a local stack."""
    name = opened.host.name
    if not name:
        return
    said = given if given is not None else ask_name(f"This {what}. Type the host's name ({name}) to go on")
    if said.strip() not in {name, name.rpartition("@")[2]}:
        seen = f"--host is {given}" if given is not None else "it was not typed"
        raise Declined(f"{name} was not named", where=opened.place, why=seen, hint=f"scripts say it with `--host {name}`")


def linked_to(opened: OpenStack) -> tuple[list[str], list[str]]:
    """Return the linked projects, and a line for each, since its next `kedro run` would wait minutes for the server that is gone."""
    projects = [str(project) for project in linked_projects(str(opened.source))]
    return projects, [f"still linked  {one} (its runs fail until the server is back; `provision unlink {one}`)" for one in projects]
