"""Backend stores in PostgreSQL: a database of the stack's own, and one that exists."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model.addresses import Addresses
from provisioner.model.secret import SecretSpec
from provisioner.model.service import Service, Volume, megabytes
from provisioner.model.settings import Limits
from provisioner.model.stores.base import SERVERS, BackendStore

POSTGRES_USER = "postgres"
MLFLOW_ROLE = "mlflow"
MLFLOW_DATABASE = "mlflow"
AUTH_DATABASE = "mlflow_auth"
POSTGRES_MEMORY = "1g"
_OWN_INDEXES = {"PROVISION_INDEXES": "true"}
_OF_THE_SERVER = "backend_store_password", "the server's role in the backend store"


class OwnPostgres(BackendStore):
    """A PostgreSQL of this stack."""

    kind: ClassVar[str] = "postgres"

    @property
    def location(self) -> str:
        return self.kind

    def services(self) -> tuple[Service, ...]:
        return (_service(self.settings.resources.postgres),)

    def secrets(self) -> tuple[SecretSpec, ...]:
        superuser = SecretSpec(
            "postgres_password", "superuser of the backend store", services=("postgres", "bootstrap")
        )
        return superuser, SecretSpec(*_OF_THE_SERVER, services=SERVERS)

    def uri(self, addresses: Addresses) -> str:
        return postgres_uri(MLFLOW_ROLE, MLFLOW_DATABASE, addresses.postgres)

    def auth_uri(self, addresses: Addresses) -> str:
        return postgres_uri(MLFLOW_ROLE, AUTH_DATABASE, addresses.postgres)

    def bootstrap_environment(self, addresses: Addresses) -> dict[str, str]:
        admin = postgres_uri(POSTGRES_USER, "postgres", addresses.postgres)
        return {"PROVISION_POSTGRES_ADMIN": admin, **_OWN_INDEXES}

    def service_environment(self, addresses: Addresses) -> dict[str, str]:
        return {
            "POSTGRES_USER": POSTGRES_USER,
            "POSTGRES_PASSWORD_FILE": f"{addresses.secrets}/postgres_password",
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --locale-provider=builtin --locale=C.UTF-8 "
            "--encoding=UTF8",
        }


class ExternalPostgres(BackendStore):
    """A PostgreSQL that exists; runs and logins share its database."""

    kind: ClassVar[str] = "external"
    needs_route: ClassVar[bool] = True

    @property
    def location(self) -> str:
        return self.settings.backend_store.uri or ""

    @property
    def theirs(self) -> str:
        return f"the backend store, which is yours: {self.location}"

    def secrets(self) -> tuple[SecretSpec, ...]:
        return (SecretSpec(*_OF_THE_SERVER, from_env="PGPASSWORD", services=SERVERS),)

    def uri(self, addresses: Addresses) -> str:
        del addresses
        return self.location

    def auth_uri(self, addresses: Addresses) -> str:
        return self.uri(addresses)

    def bootstrap_environment(self, addresses: Addresses) -> dict[str, str]:
        del addresses
        return _OWN_INDEXES if self.settings.backend_store.indexes else {}


def postgres_uri(user: str, database: str, address: str) -> str:
    """Return the SQLAlchemy URI without a password.

    The driver is always named, since a bare one means psycopg 3 with SQLAlchemy 2.1.
    """
    if address.startswith("/"):
        return f"postgresql+psycopg2://{user}@/{database}?host={address}"
    return f"postgresql+psycopg2://{user}@{address}/{database}"


def postgres_options(memory_mb: int, **more: str) -> tuple[str, ...]:
    """Return PostgreSQL's command line options for that much memory, in MB.

    An eighth is for its own buffers (64 MB to 4096 MB), half is expected in the system's.
    """
    settings = {
        "jit": "off",
        # For two servers, while one takes the other's place.
        "max_connections": "400",
        "shared_buffers": f"{max(64, min(4096, memory_mb // 8))}MB",
        "effective_cache_size": f"{memory_mb // 2}MB",
        **more,
    }
    return tuple(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))


def _service(limits: Limits) -> Service:
    return Service(
        name="postgres",
        image="postgres",
        role="backend store",
        user="999:999",
        command=("postgres", *postgres_options(megabytes(limits.memory or POSTGRES_MEMORY))),
        secrets=("postgres_password",),
        # From version 18 on the image wants the parent of the data directory.
        volumes=(Volume("postgres", "/var/lib/postgresql"),),
        networks=("data",),
        tmpfs=("/tmp:mode=1777", "/run/postgresql:uid=999,gid=999,mode=0700"),
        # Without -h the probe meets the server that only initialises.
        probe=("pg_isready", "-q", "-h", "127.0.0.1", "-U", POSTGRES_USER),
        memory=limits.memory or POSTGRES_MEMORY,
        cpus=limits.cpus,
        shm="256m",
        grace_seconds=60,
    )
