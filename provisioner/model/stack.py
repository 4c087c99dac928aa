"""A stack: the services that belong together, as the settings want them; no address and no secret value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from provisioner.model.proxy import has_own_certificates
from provisioner.model.secret import SecretSpec
from provisioner.model.settings import Limits, Settings

RuntimeKind = Literal["docker", "embedded"]
ArtifactKind = Literal["minio", "s3", "local"]
Network = Literal["data", "web", "edge"]

MLFLOW_VERSION = "3.17.2"
POSTGRES_USER = "postgres"
MLFLOW_ROLE = "mlflow"
MLFLOW_DATABASE = "mlflow"
AUTH_DATABASE = "mlflow_auth"
MINIO_ROOT_USER = "provision"
ADMIN_LOGIN = "admin"
POSTGRES_MEMORY = "1g"
VOLUME_OF = {"minio": "artifact", "caddy": "certificate"}
TLS_KEY = "tls_key"
_CADDY_TMPFS = "uid=10001,gid=10001,mode=0700"


@dataclass(frozen=True)
class Volume:
    """A named volume and the path where a service has it; `adopt` means its owner is taken from another image."""

    name: str
    path: str
    adopt: bool = False


@dataclass(frozen=True)
class Service:
    """One service: which image, what it may use, what it waits for."""

    name: str
    image: Literal["server", "postgres", "minio", "caddy"]
    role: str
    user: str
    command: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    networks: tuple[Network, ...] = ()
    after: dict[str, Literal["done", "started"]] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    memory: str = "256m"
    cpus: float | None = None
    pids: int = 256
    shm: str = ""
    capabilities: tuple[str, ...] = ()
    grace_seconds: int = 10
    one_shot: bool = False
    front_door: bool = False


@dataclass(frozen=True)
class Stack:
    """What `provision up` makes real; the same value for every runtime and host."""

    settings: Settings
    runtime: RuntimeKind
    artifacts: ArtifactKind
    services: tuple[Service, ...]
    secrets: tuple[SecretSpec, ...]

    @property
    def name(self) -> str:
        """Return the stack's name."""
        return self.settings.name

    @property
    def own_backend(self) -> bool:
        """Return whether the database is a service of this stack."""
        return self.settings.backend_store.kind == "postgres"

    @property
    def external(self) -> bool:
        """Return whether the server needs a route out of the stack."""
        return not self.own_backend or self.artifacts == "s3" or self.settings.server.genai

    @property
    def login(self) -> bool:
        """Return whether clients log in."""
        return self.settings.server.auth == "basic"

    def service(self, name: str) -> Service:
        """Return the service of that name; raise KeyError when the stack has none."""
        return {service.name: service for service in self.services}[name]

    @property
    def lasting(self) -> tuple[Service, ...]:
        """Return the services that keep running."""
        return tuple(service for service in self.services if not service.one_shot)


def build_stack(settings: Settings, runtime: RuntimeKind) -> Stack:
    """Return the stack that the settings mean on that kind of runtime."""
    artifacts: ArtifactKind = settings.artifact_store.kind or ("minio" if runtime == "docker" else "local")
    secrets = _secrets(settings, artifacts)
    services: list[Service] = []
    if settings.backend_store.kind == "postgres":
        services.append(_postgres(settings.resources.postgres))
    owned = _owned_volumes(settings, artifacts) if runtime == "docker" else ()
    if owned:
        services.append(_volumes(owned))
    if artifacts == "minio":
        services.append(_minio(settings.resources.minio))
    external = settings.backend_store.kind == "external" or artifacts == "s3"
    services.append(_bootstrap(secrets, external))
    services.append(_mlflow(settings, artifacts, secrets, external or settings.server.genai))
    services.append(_proxy(settings))
    return Stack(settings, runtime, artifacts, tuple(services), secrets)


def _secrets(settings: Settings, artifacts: ArtifactKind) -> tuple[SecretSpec, ...]:
    own_backend = settings.backend_store.kind == "postgres"
    both = ("bootstrap", "mlflow")
    specs: list[SecretSpec] = []
    if own_backend:
        specs.append(SecretSpec("postgres_password", "superuser of the backend store", services=("postgres", "bootstrap")))
    specs.append(
        SecretSpec(
            "backend_store_password",
            "the server's role in the backend store",
            from_env="" if own_backend else "PGPASSWORD",
            services=both,
        )
    )
    if artifacts == "minio":
        specs.append(SecretSpec("minio_root_password", "root of the artifact store", services=("minio", "bootstrap")))
    if artifacts != "local":
        user = artifacts == "s3"
        purpose = "the server's key to the bucket"
        specs.append(SecretSpec("s3_access_key_id", purpose, "AWS_ACCESS_KEY_ID" if user else "", both))
        specs.append(SecretSpec("s3_secret_access_key", purpose, "AWS_SECRET_ACCESS_KEY" if user else "", both))
    if settings.server.auth == "basic":
        specs.append(SecretSpec("mlflow_admin_password", f"the login {ADMIN_LOGIN}", services=("bootstrap",)))
    specs.append(SecretSpec("flask_secret_key", "signs the server's forms", services=("mlflow",)))
    specs.append(SecretSpec("crypto_kek_passphrase", "encrypts the secrets of the AI gateway", services=("mlflow",)))
    if settings.server.tls == "files":
        specs.append(
            SecretSpec(TLS_KEY, "the key of the front door's certificate", services=("proxy",), from_file=settings.server.tls_key or "")
        )
    return tuple(specs)


def _names(secrets: tuple[SecretSpec, ...], service: str) -> tuple[str, ...]:
    return tuple(spec.name for spec in secrets if service in spec.services)


def _postgres(limits: Limits) -> Service:
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


def megabytes(memory: str) -> int:
    """Return `2g` or `512m` of the settings as MB."""
    return int(memory[:-1]) * (1024 if memory.endswith("g") else 1)


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


def _owned_volumes(settings: Settings, artifacts: ArtifactKind) -> tuple[Volume, ...]:
    """Return the volumes of services from others' images.

    Each is where our image has a directory with their owner.
    """
    artifact_store = (Volume("minio", "/var/lib/minio"),) if artifacts == "minio" else ()
    certificates = (Volume("caddy", "/var/lib/caddy"),) if has_own_certificates(settings.server) else ()
    return artifact_store + certificates


def _volumes(volumes: tuple[Volume, ...]) -> Service:
    """Return the service that gives fresh volumes their owner.

    A fresh volume belongs to root; mounted first in our image, it takes that directory's owner, so no service
    needs root for it.
    """
    return Service(
        name="volumes",
        image="server",
        role=f"owner of the {VOLUME_OF[volumes[0].name]} volume" if len(volumes) == 1 else "owner of the volumes",
        user="10001:10001",
        command=("volumes",),
        volumes=volumes,
        memory="64m",
        one_shot=True,
    )


def _minio(limits: Limits) -> Service:
    return Service(
        name="minio",
        image="minio",
        role="artifact store",
        user="10001:10001",
        command=("minio", "server", "/data", "--address", ":9000", "--certs-dir", "/tmp/certs"),
        secrets=("minio_root_password",),
        volumes=(Volume("minio", "/data", adopt=True),),
        networks=("data",),
        after={"volumes": "done"},
        tmpfs=("/tmp:mode=1777",),
        memory=limits.memory or "1g",
        cpus=limits.cpus,
        pids=1024,
        grace_seconds=30,
    )


def _bootstrap(secrets: tuple[SecretSpec, ...], external: bool) -> Service:
    return Service(
        name="bootstrap",
        image="server",
        role="makes roles, databases, bucket and schema",
        user="10001:10001",
        command=("bootstrap",),
        secrets=_names(secrets, "bootstrap"),
        networks=("data", "edge") if external else ("data",),
        tmpfs=("/tmp:mode=1777",),
        memory="1g",
        one_shot=True,
    )


def _mlflow(settings: Settings, artifacts: ArtifactKind, secrets: tuple[SecretSpec, ...], route_out: bool) -> Service:
    limits = settings.resources.mlflow
    local = (Volume("artifacts", "/var/lib/mlflow/artifacts"),) if artifacts == "local" else ()
    return Service(
        name="mlflow",
        image="server",
        role="tracking server",
        user="10001:10001",
        command=("server",),
        secrets=_names(secrets, "mlflow"),
        # Whole artifacts pass through /tmp: on disk, since memory would count against the limit.
        volumes=(Volume("scratch", "/tmp"), *local),
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
    waits: dict[str, Literal["done", "started"]] = {"volumes": "done"} if keeps else {}
    return Service(
        name="proxy",
        image="caddy",
        role="front door",
        user="10001:10001",
        command=("caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"),
        secrets=(TLS_KEY,) if settings.server.tls == "files" else (),
        # A certificate authority that clients trust must outlive the container; so must what ACME's rate limits count.
        volumes=(Volume("caddy", "/data", adopt=True),) if keeps else (),
        networks=("web", "edge"),
        after={**waits, "bootstrap": "done", "mlflow": "started"},
        tmpfs=(f"/config:{_CADDY_TMPFS}",) if keeps else (f"/config:{_CADDY_TMPFS}", f"/data:{_CADDY_TMPFS}"),
        memory=limits.memory or "256m",
        cpus=limits.cpus,
        # The official binary carries this file capability and cannot start without it.
        capabilities=("NET_BIND_SERVICE",),
        grace_seconds=60,
        front_door=True,
    )
