"""Write or compare a stack's files without starting it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from provisioner.errors import Drift
from provisioner.output import ChangedFiles, Data, Reporter, Result
from provisioner.stack.context import ENV_FILE, StackContext
from provisioner.stack.directory import changed_files, closed_files, refuse_others_files, write_files
from provisioner.stack.find import open_stack
from provisioner.stack.port_choice import port_to_render
from provisioner.stack.release import refuse_to_render
from provisioner.stack.secrets import make_secrets, missing_secrets, refuse_lost_secrets, refuse_ungiven


@dataclass(frozen=True)
class RenderData(Data):
    """What `render` gives."""

    command: ClassVar[str] = "render"

    changed: ChangedFiles


def render(option: Path | None, check: bool, reporter: Reporter) -> Result:
    """Write the stack's files as its settings give them, and missing secrets.

    With `check` write nothing; raise Drift, which names the files that differ.
    """
    context = open_stack(option, reporter)
    if not check:
        refuse_to_render(context.state)
    # On the runtime that it was made with, else Docker's, whose files work without us.
    port = context.port if check else port_to_render(context, reporter)
    rendered = context.with_state(runtime=context.state.runtime or "docker", port=port)
    runtime = rendered.runtime
    reporter.using(runtime=runtime.kind)
    if check:
        changed = sorted(changed_files(context, runtime.files()))
        if drifted := [path for path in changed if path != ENV_FILE]:
            raise _drift(context, drifted)
        return Result(RenderData(tuple(changed)), ("every rendered file is as the settings give it",))
    with context.host.lock(context.directory, "render"):
        written = _write(context, rendered, reporter)
    compose = "docker compose up -d --wait"
    compose = (
        compose if context.source == Path.cwd() else f"cd {shlex.quote(str(context.source))} && {compose}"
    )
    return Result(
        RenderData(tuple(written)),
        (f"next          {compose if runtime.kind == 'docker' else 'provision up'}",),
    )


def _drift(context: StackContext, paths: list[str]) -> Drift:
    if context.other_release:
        # They are as that release rendered them, or that would have been said.
        what = f"has other places or certificates than there are now: {', '.join(paths)}"
        hint = "`provision up` writes those into them"
    else:
        what = f"differs from what the settings give: {', '.join(paths)}"
        hint = "`provision render` writes them anew; changes of your own belong into compose.override.yml"
    return Drift(what, where=context.location, hint=hint)


def _write(context: StackContext, rendered: StackContext, reporter: Reporter) -> list[str]:
    runtime = rendered.runtime
    missing = missing_secrets(context, rendered.model)
    if missing and context.is_made:
        refuse_lost_secrets(context, missing, runtime.observe().has_data)
    files = runtime.files()
    changed = changed_files(context, files) | closed_files(context, files)
    refuse_others_files(context, changed, runtime.kind)
    refuse_ungiven(context, missing, os.environ)
    write_files(context, changed)
    if missing:
        make_secrets(context, missing, os.environ, reporter)
    for path in sorted(changed):
        reporter.step("wrote", path)
    return sorted(changed)
