"""Artifacts in a directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from provision_server.settings import Fault
from provision_server.stores.artifacts import ArtifactStore


class Store(ArtifactStore):
    """A directory that the server's user may write to."""

    @property
    def _directory(self) -> Path:
        return Path(self.settings.artifacts)

    def check(self) -> None:
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise Fault(f"the artifact directory {self._directory} cannot be written by uid {os.getuid()}")

    def size(self, path: str) -> int | None:
        file = self._directory / path
        return file.stat().st_size if file.is_file() else None

    def usage(self) -> tuple[int, int]:
        sizes = [entry.stat().st_size for entry in self._directory.rglob("*") if entry.is_file()]
        return len(sizes), sum(sizes)

    def free(self) -> int | None:
        return shutil.disk_usage(self._directory).free
