"""End a stack: `down` keeps all data, only `erase` deletes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.actions.link import linked_projects
from provisioner.actions.runtime import existing_runtime
from provisioner.actions.secrets import FOLDER
from provisioner.actions.stack_directory import CA_FILE, STATE_FILE, OpenStack, find_stack
from provisioner.actions.status import size
from provisioner.errors import Declined, ProvisionError
from provisioner.model.stack import Stack
from provisioner.output import Reporter, Result
from provisioner.runtimes.base import Runtime

Ask = Callable[[str], bool]
OWN_FILES = (STATE_FILE, ".env", CA_FILE)


def down(option: Path | None, reporter: Reporter) -> Result:
    """Every service ended; all data stays."""
    opened = find_stack(option)
    reporter.note("stack", f"{opened.directory} ({opened.reason})")
    result = Result("down", stack=str(opened.directory))
    existing = existing_runtime(opened)
    if existing is None:
        result.lines = ["this stack was never brought up"]
        return result
    _, runtime = existing
    result.runtime = runtime.kind
    with opened.host.lock(opened.directory, "down"):
        runtime.stop(reporter)
    linked = _name_linked(opened, result)
    result.lines = ["all data is kept; `provision up` starts the stack again", *linked]
    return result


def erase(option: Path | None, yes: bool, ask: Ask, reporter: Reporter) -> Result:
    """The stack and all its data gone, after the user said yes; settings and rendered files stay."""
    opened = find_stack(option)
    reporter.note("stack", f"{opened.directory} ({opened.reason})")
    result = Result("erase", stack=str(opened.directory))
    existing = existing_runtime(opened)
    if existing is None:
        result.lines = ["this stack was never brought up; there is nothing to erase"]
        return result
    stack, runtime = existing
    result.runtime = runtime.kind
    linked = _name_linked(opened, result)
    for line in [*_stores(stack, runtime), f"erases  secrets in {opened.directory / FOLDER}", *linked]:
        reporter.note("", line)
    if not yes and not ask("Delete all of it for good?"):
        raise Declined("nothing was erased", hint="`provision down` ends the stack and keeps its data")
    with opened.host.lock(opened.directory, "erase"):
        runtime.erase(reporter)
        shutil.rmtree(opened.directory / FOLDER, ignore_errors=True)
        for name in OWN_FILES:
            (opened.directory / name).unlink(missing_ok=True)
    reporter.step("removed", "secrets")
    result.lines = ["erased; settings and rendered files are still there", *linked]
    return result


def _stores(stack: Stack, runtime: Runtime) -> list[str]:
    """Each store with what becomes of it, and how much is in it as far as a running stack can say."""
    settings, usage = stack.settings, _usage(runtime)
    database, files = (size(usage.get(key)) for key in ("backend_store_bytes", "artifact_store_bytes"))
    if not usage:
        database = files = "how much is unknown while the stack is down"
    backend = f"erases  all runs and models: the backend store ({database})"
    artifacts = f"erases  {usage.get('artifact_objects', 'all')} artifacts ({files})"
    return [
        backend if stack.own_backend else f"keeps   the backend store, which is yours: {settings.backend_store.uri}",
        artifacts if stack.artifacts != "s3" else f"keeps   the bucket, which is yours: {settings.artifact_store.bucket}",
    ]


def _usage(runtime: Runtime) -> dict[str, Any]:
    try:
        return dict(json.loads(runtime.probe("usage")))
    except (ProvisionError, ValueError):
        return {}


def _name_linked(opened: OpenStack, result: Result) -> list[str]:
    """Each linked project, since its next `kedro run` would wait minutes for the server that is gone."""
    projects = linked_projects(str(opened.directory))
    result.data["linked"] = [str(project) for project in projects]
    return [f"still linked  {project} (its runs fail until the server is back; `provision unlink {project}`)" for project in projects]
