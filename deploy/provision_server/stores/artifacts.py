"""What the server needs of an artifact store.

The file `artifacts_SCHEME.py` has it, `artifacts_local.py` for a directory.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable

from provision_server.settings import Fault, Settings

Say = Callable[[str, str], None]


class ArtifactStore(ABC):
    """The store of the server's settings; each file has its own as `Store`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prepare(self, say: Say) -> None:  # noqa: B027  not every store has something to do
        """Make the store ready for the server, and `say` what was done; Fault with what is in the way."""

    def check(self) -> None:  # noqa: B027  not every store has something to do
        """Raise Fault when this process cannot use it as it is."""

    def export(self) -> None:  # noqa: B027  not every store has something to do
        """Put what MLflow's client of the store needs into os.environ; raise Fault without a secret."""

    def register(self) -> None:  # noqa: B027  not every store has something to do
        """Have MLflow's server use it as ours does, where its own way would not do."""

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Return how many bytes the artifact has; None when there is none."""

    @abstractmethod
    def usage(self) -> tuple[int, int]:
        """Return how many artifacts, and how many bytes, the store has."""

    def free(self) -> int | None:
        """Return how many bytes it has room for; None where nobody knows."""
        return None


def artifact_store(settings: Settings) -> ArtifactStore:
    """Return the store that the settings name; raise Fault for a scheme that this server does not know."""
    found = re.match(r"([a-z][a-z0-9]*)://", settings.artifacts)
    scheme = found[1] if found else "local"
    try:
        module = importlib.import_module(f"provision_server.stores.artifacts_{scheme}")
    except ModuleNotFoundError as missing:
        raise Fault(
            f"this server knows no artifact store {scheme}:// ({missing.name} is not there)"
        ) from missing
    store: ArtifactStore = module.Store(settings)
    return store
