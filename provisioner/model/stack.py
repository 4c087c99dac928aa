"""A stack: the services that belong together, as the settings want them; no address and no secret value."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Literal

from provisioner.model.proxy import has_own_certificates
from provisioner.model.secret import SecretSpec
from provisioner.model.service import OUR_USER, Service, Volume, secrets_of
from provisioner.model.settings import Settings
from provisioner.model.stores.base import ArtifactStore, BackendStore, RuntimeKind
from provisioner.model.stores.table import artifact_store, backend_store

ADMIN_LOGIN = "admin"
TLS_KEY = "tls_key"
_CADDY_TMPFS = "uid=10001,gid=10001,mode=0700"


@dataclass(frozen=True)
class Stack:
    """What `provision up` makes real; the same value for every runtime and host."""

    settings: Settings
    runtime: RuntimeKind
    backend: BackendStore
    artifacts: ArtifactStore
    services: tuple[Service, ...]
    secrets: tuple[SecretSpec, ...]

    @property
    def name(self) -> str:
        """Return the stack's name."""
        return self.settings.name

    @property
    def own_backend(self) -> bool:
        """Return whether the database is a service of this stack."""
        return bool(self.backend.services())

    @property
    def location(self) -> str:
        """Return where the data of both stores is."""
        return f"{self.backend.location} and {self.artifacts.location}"

    @property
    def external(self) -> bool:
        """Return whether the server needs a route out of the stack."""
        return self.backend.needs_route or self.artifacts.needs_route or self.settings.server.genai

    @property
    def login(self) -> bool:
        """Return whether clients log in."""
        return self.settings.server.auth == "basic"

    def service(self, name: str) -> Service:
        """Return the service of that name; raise KeyError when the stack has none."""
        return {service.name: service for service in self.services}[name]

    def as_made(self, services: tuple[Service, ...], secrets: Container[str]) -> Stack:
        """Return the stack with the services that it was made with, and of the secrets only those."""
        kept = tuple(spec for spec in self.secrets if spec.name in secrets)
        return replace(self, services=services or self.services, secrets=kept)

    @property
    def long_running(self) -> tuple[Service, ...]:
        """Return the services that keep running."""
        return tuple(service for service in self.services if not service.one_shot)


def build_stack(settings: Settings, runtime: RuntimeKind) -> Stack:
    """Return the stack that the settings mean on that kind of runtime."""
    backend, artifacts = backend_store(settings), artifact_store(settings, runtime)
    secrets = _secrets(settings, backend, artifacts)
    services = [*backend.services()]
    if runtime == "docker" and (owned := _owned_volumes(settings, artifacts)):
        services.append(_volumes(owned))
    services += artifacts.services()
    external = backend.needs_route or artifacts.needs_route
    services.append(_bootstrap(secrets, external))
    services.append(_mlflow(settings, artifacts, secrets, external or settings.server.genai))
    services.append(_proxy(settings))
    return Stack(settings, runtime, backend, artifacts, tuple(services), secrets)


def _secrets(settings: Settings, backend: BackendStore, artifacts: ArtifactStore) -> tuple[SecretSpec, ...]:
    specs = [*backend.secrets(), *artifacts.secrets()]
    if settings.server.auth == "basic":
        specs.append(SecretSpec("mlflow_admin_password", f"the login {ADMIN_LOGIN}", services=("bootstrap",)))
    specs.append(SecretSpec("flask_secret_key", "signs the server's forms", services=("mlflow",)))
    specs.append(
        SecretSpec("crypto_kek_passphrase", "encrypts the secrets of the AI gateway", services=("mlflow",))
    )
    if settings.server.tls == "files":
        specs.append(
            SecretSpec(
                TLS_KEY,
                "the key of the proxy's certificate",
                services=("proxy",),
                from_file=settings.server.tls_key or "",
            )
        )
    return tuple(specs)


def _owned_volumes(settings: Settings, artifacts: ArtifactStore) -> tuple[Volume, ...]:
    """Return the volumes of services from others' images.

    Each is where our image has a directory with their owner.
    """
    certificates = (
        (Volume("caddy", "/var/lib/caddy", holds="certificate"),)
        if has_own_certificates(settings.server)
        else ()
    )
    return artifacts.owned_volumes() + certificates


def _volumes(volumes: tuple[Volume, ...]) -> Service:
    """Return the service that gives fresh volumes their owner.

    A fresh volume belongs to root; mounted first in our image, it takes that directory's owner, so no service
    needs root for it.
    """
    return Service(
        name="volumes",
        image="server",
        role=f"owner of the {volumes[0].holds} volume" if len(volumes) == 1 else "owner of the volumes",
        user=OUR_USER,
        command=("volumes",),
        volumes=volumes,
        memory="64m",
        one_shot=True,
    )


def _bootstrap(secrets: tuple[SecretSpec, ...], external: bool) -> Service:
    return Service(
        name="bootstrap",
        image="server",
        role="makes roles, databases, bucket and schema",
        user=OUR_USER,
        command=("bootstrap",),
        secrets=secrets_of(secrets, "bootstrap"),
        networks=("data", "edge") if external else ("data",),
        tmpfs=("/tmp:mode=1777",),
        memory="1g",
        one_shot=True,
    )


def _mlflow(
    settings: Settings, artifacts: ArtifactStore, secrets: tuple[SecretSpec, ...], route_out: bool
) -> Service:
    limits = settings.resources.mlflow
    return Service(
        name="mlflow",
        image="server",
        role="tracking server",
        user=OUR_USER,
        command=("server",),
        secrets=secrets_of(secrets, "mlflow"),
        # Whole artifacts pass through /tmp: on disk, since memory would count against the limit.
        volumes=(Volume("scratch", "/tmp"), *artifacts.server_volumes()),
        networks=("data", "web", "edge") if route_out else ("data", "web"),
        probe=("/opt/venv/bin/python", "-m", "provision_server", "probe", "ready"),
        memory=limits.memory or "2g",
        cpus=limits.cpus,
        pids=512,
        grace_seconds=60,
    )


def _proxy(settings: Settings) -> Service:
    limits = settings.resources.proxy
    keeps = has_own_certificates(settings.server)
    waits: dict[str, Literal["completed", "started"]] = {"volumes": "completed"} if keeps else {}
    return Service(
        name="proxy",
        image="caddy",
        role="reverse proxy",
        user=OUR_USER,
        command=("caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"),
        secrets=(TLS_KEY,) if settings.server.tls == "files" else (),
        # A certificate authority that clients trust must outlive the container; so must what ACME's rate
        # limits count.
        volumes=(Volume("caddy", "/data", adopt=True),) if keeps else (),
        networks=("web", "edge"),
        depends_on={**waits, "bootstrap": "completed", "mlflow": "started"},
        tmpfs=(f"/config:{_CADDY_TMPFS}",) if keeps else (f"/config:{_CADDY_TMPFS}", f"/data:{_CADDY_TMPFS}"),
        memory=limits.memory or "256m",
        cpus=limits.cpus,
        # The official binary carries this file capability and cannot start without it.
        capabilities=("NET_BIND_SERVICE",),
        grace_seconds=60,
        is_proxy=True,
    )
