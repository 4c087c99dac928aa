"""An artifact store in a directory of the stack's own."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model.addresses import Addresses
from provisioner.model.service import Volume
from provisioner.model.stores.base import ArtifactStore


class Local(ArtifactStore):
    """A private folder: a volume on Docker, below the stack's directory without it."""

    kind: ClassVar[str] = "local"

    @property
    def location(self) -> str:
        # The words that the state of older stacks has.
        return f"{self.kind} {self.kind}"

    def destination(self, addresses: Addresses) -> str:
        return addresses.artifacts

    def server_volumes(self) -> tuple[Volume, ...]:
        return (Volume("artifacts", "/var/lib/mlflow/artifacts"),)
