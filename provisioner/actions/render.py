"""Write or compare a stack's files without starting it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from provisioner.errors import Drift
from provisioner.model.stack import build_stack
from provisioner.output import Reporter, Result
from provisioner.runtimes.base import Runtime
from provisioner.runtimes.docker.compose_file import port_in_env
from provisioner.stack.context import make_runtime, may_choose_port, next_free_port, stack_port
from provisioner.stack.directory import OpenStack, changed_files, closed_files, find_stack, refuse_others_files, write_files
from provisioner.stack.secrets import make_secrets, missing_secrets, refuse_lost_secrets, refuse_ungiven

OWN_TO_ONE_STACK = ".env"


def render(directory: Path | None, option: Path | None, check: bool, reporter: Reporter) -> Result:
    """Write the stack's files as its settings give them, and missing secrets.

    With `check` write nothing; raise Drift, which names the files that differ.
    """
    opened = find_stack(directory or option)
    opened.announce(reporter)
    runtime = _renderer(opened, stack_port(opened) if check else _free_port(opened, reporter))
    result = Result("render", stack=str(opened.source), runtime=runtime.kind)
    if check:
        changed = sorted(changed_files(opened, runtime.files()))
        result.data["changed"] = changed
        if drifted := [path for path in changed if path != OWN_TO_ONE_STACK]:
            raise Drift(
                f"differs from what the settings give: {', '.join(drifted)}",
                where=opened.place,
                hint="`provision render` writes them anew; changes of your own belong into compose.override.yml",
            )
        result.lines = ["every rendered file is as the settings give it"]
        return result
    with opened.host.lock(opened.directory, "render"):
        result.data["changed"] = _write(opened, runtime, reporter)
    compose = "docker compose up -d --wait"
    compose = compose if opened.source == Path.cwd() else f"cd {shlex.quote(str(opened.source))} && {compose}"
    result.lines = [f"next          {compose if runtime.kind == 'docker' else 'provision up'}"]
    return result


def _renderer(opened: OpenStack, port: int) -> Runtime:
    """Return the runtime that the stack was made with, else Docker's, whose files work without us."""
    stack = build_stack(opened.settings, opened.state.runtime or "docker")
    return make_runtime(opened, stack, port)


def _free_port(opened: OpenStack, reporter: Reporter) -> int:
    """Return the stack's port; for one that never ran, and has none, a free one unless the user named it."""
    port = stack_port(opened)
    is_new = opened.state.runtime is None and port_in_env(opened.host.get(opened.directory / OWN_TO_ONE_STACK)) is None
    if not is_new or opened.host.name or opened.host.is_free(opened.settings.server.bind, port):
        return port
    if may_choose_port(opened):
        return next_free_port(opened, port, reporter) or port
    reporter.step("warning", "port", f"{port} is taken by {opened.host.holder(port) or 'a program of another user'}")
    return port


def _write(opened: OpenStack, runtime: Runtime, reporter: Reporter) -> list[str]:
    stack = build_stack(opened.settings, runtime.kind)
    missing = missing_secrets(opened, stack)
    if missing and opened.state.runtime:
        refuse_lost_secrets(opened, missing, runtime.observe().has_data)
    rendered = runtime.files()
    changed = changed_files(opened, rendered) | closed_files(opened, rendered)
    refuse_others_files(opened, changed, runtime.kind)
    refuse_ungiven(opened, missing, os.environ)
    write_files(opened, changed)
    if missing:
        make_secrets(opened, missing, os.environ, reporter)
    for path in sorted(changed):
        reporter.step("wrote", path)
    return sorted(changed)
