"""Give a linked project's files back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from provisioner.kedro.unlink import unlink
from provisioner.output import ChangedFiles, Data, KedroProjectPath, Reporter, Result


@dataclass(frozen=True)
class UnlinkData(Data):
    """What `unlink` gives."""

    command: ClassVar[str] = "unlink"

    project: KedroProjectPath
    changed: ChangedFiles


def unlink_project(project: Path, reporter: Reporter) -> Result:
    """Restore the project's files as they were before `link`, as far as nobody else changed them."""
    report = unlink(project, reporter)
    return Result(UnlinkData(str(report.project), report.changed))
