"""Give a linked project's files back."""

from __future__ import annotations

from pathlib import Path

from provisioner.kedro.unlink import unlink
from provisioner.output import Reporter, Result


def unlink_project(project: Path, reporter: Reporter) -> Result:
    """Restore the project's files as they were before `link`, as far as nobody else changed them."""
    report = unlink(project, reporter)
    return Result("unlink", data={"project": str(report.project), "changed": list(report.changed)})
