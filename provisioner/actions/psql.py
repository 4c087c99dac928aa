"""PostgreSQL's own shell on the stack's database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from provisioner.errors import PreflightError, Unhealthy
from provisioner.output import Data, Reporter, Result
from provisioner.stack.find import open_made_stack
from provisioner.stack.secrets import needed_secret
from provisioner.system.process import interrupts_left_to_it


@dataclass(frozen=True)
class PsqlData(Data):
    """What `psql` gives: nothing but what PostgreSQL's shell writes."""

    command: ClassVar[str] = "psql"


def psql(option: Path | None, arguments: Sequence[str], write: bool, reporter: Reporter) -> Result:
    """Run psql on this terminal, as the role of the tracking server; its exit code is the command's."""
    context = open_made_stack(option, reporter)
    stack, runtime = context.model, context.runtime
    if not stack.own_backend:
        raise PreflightError(
            "this stack has no PostgreSQL of its own",
            where="backend_store.uri in provision.yml",
            hint="run psql where you reach that database",
        )
    seen = runtime.observe().services.get("postgres")
    if seen is None or seen.state not in {"running", "starting"}:
        raise Unhealthy(
            "PostgreSQL does not run", where=context.location, hint="`provision up` starts it", left_as=""
        )
    needed_secret(context, "postgres_password")
    with interrupts_left_to_it():
        code = runtime.psql(arguments, write)
    return Result(PsqlData(), returncode=code)
