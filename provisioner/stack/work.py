"""What one `up` or `deploy` decided before it acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model.plan import Observed, Plan
from provisioner.model.secret import SecretSpec
from provisioner.model.stack import Stack
from provisioner.runtimes.base import RenderedFile, Runtime


@dataclass(frozen=True)
class Work:
    """Everything that was decided; `bool()` says whether there is anything to do."""

    stack: Stack
    runtime: Runtime
    port: int
    identity: str
    observed: Observed
    wanted: Mapping[str, str]
    plan: Plan
    files: Mapping[str, RenderedFile]
    missing: list[SecretSpec]
    deadline: float

    def __bool__(self) -> bool:
        return bool(self.plan or self.files or self.missing)
