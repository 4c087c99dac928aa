"""What every kind of store says of itself; a new kind is its own class, and nothing else knows it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from provisioner.errors import PreflightError
from provisioner.model.addresses import Addresses
from provisioner.model.secret import SecretSpec
from provisioner.model.service import Service, Volume
from provisioner.model.settings import Settings, StoreSettings

RuntimeKind = Literal["docker", "embedded"]
# The services that open a store.
SERVERS = ("bootstrap", "mlflow")


@dataclass(frozen=True)
class Store(ABC):
    """A store as the settings want it: its services, secrets, and what the server is told of it."""

    settings: Settings

    kind: ClassVar[str]
    own_settings: ClassVar[type[StoreSettings] | None] = None
    """The class of its keys in `provision.yml`, for a kind that has others than those of
    `model/settings.py`."""
    needs_route: ClassVar[bool] = False
    """Whether the server reaches it outside of the stack."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Return where its data is: another one means other data."""

    @property
    def theirs(self) -> str:
        """Return what of it is the user's own and stays when a stack is erased; "" when it is the stack's."""
        return ""

    def services(self) -> tuple[Service, ...]:
        """Return the services that it adds to the stack."""
        return ()

    def secrets(self) -> tuple[SecretSpec, ...]:
        """Return the secrets that it needs."""
        return ()

    def environment(self, addresses: Addresses) -> dict[str, str]:
        """Return what the server and its bootstrap are told beside the store's URI."""
        del addresses
        return {}

    def bootstrap_environment(self, addresses: Addresses) -> dict[str, str]:
        """Return what the bootstrap alone is told."""
        del addresses
        return {}

    def service_environment(self, addresses: Addresses) -> dict[str, str]:
        """Return the environment of its own services."""
        del addresses
        return {}

    def unavailable(self, runtime: RuntimeKind) -> PreflightError | None:
        """Return why it cannot be had on that runtime; None when it can."""
        del runtime
        return None


class BackendStore(Store):
    """Where experiments, runs and models are kept."""

    @abstractmethod
    def uri(self, addresses: Addresses) -> str:
        """Return the SQLAlchemy URI of the tracking database, without a password."""

    @abstractmethod
    def auth_uri(self, addresses: Addresses) -> str:
        """Return the one of the database of logins."""


class ArtifactStore(Store):
    """Where files and models are kept."""

    @abstractmethod
    def destination(self, addresses: Addresses) -> str:
        """Return where the server keeps artifacts: a URI or a directory."""

    def owned_volumes(self) -> tuple[Volume, ...]:
        """Return the volumes of services from others' images.

        Each is where our image has a directory with their owner.
        """
        return ()

    def server_volumes(self) -> tuple[Volume, ...]:
        """Return the volumes that the server itself has for it."""
        return ()
