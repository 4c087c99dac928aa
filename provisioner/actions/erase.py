"""Delete a stack and its data, after the user said yes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from provisioner.actions.down import AskName, confirm_host, linked_to, nothing_there
from provisioner.errors import Declined, ProvisionError
from provisioner.model.stack import Stack
from provisioner.output import Data, LinkedProjects, Reporter, Result, counted, size
from provisioner.runtimes.base import Runtime
from provisioner.stack.audit import audit
from provisioner.stack.context import CA_FILE, ENV_FILE, STATE_FILE
from provisioner.stack.find import open_stack
from provisioner.stack.secrets import FOLDER, folder_mode
from provisioner.system.host import LocalHost

Ask = Callable[[str], bool]
OWN_FILES = (STATE_FILE, ENV_FILE, CA_FILE)


@dataclass(frozen=True)
class EraseData(Data):
    """What `erase` gives; nothing for a stack that was never brought up."""

    command: ClassVar[str] = "erase"

    linked_projects: LinkedProjects = None


@dataclass(frozen=True)
class EraseOptions:
    """What the user said beforehand: yes, and the host's name."""

    stack: Path | None = None
    yes: bool = False
    host: str | None = None


def erase(options: EraseOptions, ask: Ask, ask_name: AskName, reporter: Reporter) -> Result:
    """Delete the stack and all its own data, once confirmed; keep settings and rendered files but `.env`."""
    context = open_stack(options.stack, reporter)
    if not context.is_made:
        line = "this stack was never brought up; there is nothing to erase"
        return nothing_there(context, EraseData(), line)
    runtime = context.runtime
    # Before anything is asked or ended: of a link only the link would be removed.
    has_secrets = folder_mode(context) is not None
    projects, linked = linked_to(context)
    for line in [
        *_stores(context.model_as_made, runtime),
        f"erases  secrets in {context.location}/{FOLDER}",
        *linked,
    ]:
        reporter.note("", line)
    confirm_host(context, options.host, ask_name, "deletes the team's data")
    # Whoever typed the host's name just now has been asked.
    asked = context.host.is_remote and options.host is None
    if not options.yes and not asked and not ask("Delete all of it for good?"):
        raise Declined("nothing was erased", hint="`provision down` ends the stack and keeps its data")
    with context.host.lock(context.directory, "erase"):
        runtime.erase(reporter)
        context.host.remove(*(context.directory / name for name in (FOLDER, *OWN_FILES)))
        audit(context, "erase", "completed")
    if context.here:
        LocalHost().remove(context.here / CA_FILE)
    if has_secrets:
        reporter.step("removed", "secrets")
    return Result(EraseData(projects), ("erased; settings and rendered files are still there", *linked))


def _stores(stack: Stack, runtime: Runtime) -> list[str]:
    """Return what becomes of each store, and how much is in it as far as a running stack can say."""
    usage = _usage(runtime)
    database, files = (size(usage.get(key)) for key in ("backend_store_bytes", "artifact_store_bytes"))
    if not usage:
        database = files = "how much is unknown while the stack is down"
    backend = f"erases  all runs and models: the backend store ({database})"
    objects = usage.get("artifact_objects")
    artifacts = f"erases  {'all artifacts' if objects is None else counted(objects, 'artifact')} ({files})"
    return [
        f"keeps   {stack.backend.theirs}" if stack.backend.theirs else backend,
        f"keeps   {stack.artifacts.theirs}" if stack.artifacts.theirs else artifacts,
    ]


def _usage(runtime: Runtime) -> dict[str, Any]:
    try:
        return dict(json.loads(runtime.probe("usage")))
    except (ProvisionError, ValueError):
        return {}
