"""Addresses and URIs of the stores, and the environment that each service is given; no secret value."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.model.proxy import in_url, public_host, public_origin
from provisioner.model.settings import ServerSettings
from provisioner.model.stack import (
    AUTH_DATABASE,
    MINIO_ROOT_USER,
    MLFLOW_DATABASE,
    MLFLOW_ROLE,
    POSTGRES_USER,
    Stack,
)

# What container engines call the machine that they run on; no public name server has these.
_MACHINE_IN_CONTAINERS = ("host.docker.internal", "host.containers.internal")
# In a pattern, which one with `*` is, a bracket is a set of characters.
ANY_LOCAL_HOST = "localhost,localhost:*,127.0.0.1,127.0.0.1:*,[::1],[[]::1]:*"


@dataclass(frozen=True)
class Addresses:
    """Where the parts of one running stack find each other."""

    postgres: str
    """HOST:PORT, or the directory of a unix socket."""
    minio: str
    """HOST:PORT of our own S3 server."""
    listen: str
    """What the tracking server's Flask application listens on: HOST:PORT or unix:PATH."""
    listen_asgi: str
    """What its FastAPI application listens on."""
    upstream: str
    """What the front door dials for the first, in Caddy's words: HOST:PORT or unix/PATH."""
    upstream_asgi: str
    """What it dials for the second."""
    front: str
    """What the front door listens on, in Caddy's words."""
    front_http: str
    """What it listens on for plain HTTP when it speaks TLS; "" for nothing."""
    front_files: str
    """The directory of its configuration and certificates."""
    front_key: str
    """The file of its certificate's key."""
    jobs: str
    """The URI at which MLflow's jobs reach the server that started them."""
    artifacts: str
    """The directory of a local artifact store."""
    secrets: str
    """The directory of secret files."""
    front_sockets: tuple[str, ...] = ()
    """What the front door binds in place of `front` and `front_http`, in Caddy's words: sockets that it is given."""


IN_CONTAINERS = Addresses(
    postgres="postgres:5432",
    minio="minio:9000",
    listen="0.0.0.0:5000",
    listen_asgi="0.0.0.0:5001",
    upstream="mlflow:5000",
    upstream_asgi="mlflow:5001",
    front=":8080",
    front_http=":8081",
    front_files="/etc/caddy",
    front_key="/run/secrets/tls_key",
    jobs="http://127.0.0.1:5001",
    artifacts="/var/lib/mlflow/artifacts",
    secrets="/run/secrets",
)


def postgres_uri(user: str, database: str, address: str) -> str:
    """Return the SQLAlchemy URI without a password.

    The driver is always named, since a bare one means psycopg 3 with SQLAlchemy 2.1.
    """
    if address.startswith("/"):
        return f"postgresql+psycopg2://{user}@/{database}?host={address}"
    return f"postgresql+psycopg2://{user}@{address}/{database}"


def service_environment(stack: Stack, service: str, addresses: Addresses) -> dict[str, str]:
    """Return the environment of that service."""
    if service == "postgres":
        return {
            "POSTGRES_USER": POSTGRES_USER,
            "POSTGRES_PASSWORD_FILE": f"{addresses.secrets}/postgres_password",
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --locale-provider=builtin --locale=C.UTF-8 --encoding=UTF8",
        }
    if service == "minio":
        return {
            "MINIO_ROOT_USER": MINIO_ROOT_USER,
            "MINIO_ROOT_PASSWORD_FILE": f"{addresses.secrets}/minio_root_password",
            "MINIO_BROWSER": "off",
            # Go's default lets garbage double the heap: 90 MB more after one large file, for hardly less CPU.
            "GOGC": "25",
            "MINIO_UPDATE": "off",
        }
    if service in {"bootstrap", "mlflow"}:
        environment = _server_environment(stack, addresses)
        if service == "bootstrap" and stack.own_backend:
            environment["PROVISION_POSTGRES_ADMIN"] = postgres_uri(POSTGRES_USER, "postgres", addresses.postgres)
        if service == "bootstrap" and stack.artifacts == "minio":
            environment["PROVISION_MINIO_ADMIN"] = addresses.minio
        return environment
    if service == "proxy":
        # As the official image has it; another one may not.
        return {"XDG_CONFIG_HOME": "/config", "XDG_DATA_HOME": "/data"}
    return {}


def _server_environment(stack: Stack, addresses: Addresses) -> dict[str, str]:
    server = stack.settings.server
    backend = stack.settings.backend_store.uri or postgres_uri(MLFLOW_ROLE, MLFLOW_DATABASE, addresses.postgres)
    environment = {
        "PROVISION_SECRETS": addresses.secrets,
        "PROVISION_BACKEND_STORE": backend,
        "PROVISION_ARTIFACTS_DESTINATION": artifacts_destination(stack, addresses),
        "PROVISION_AUTH": server.auth,
        "PROVISION_LISTEN": addresses.listen,
        "PROVISION_LISTEN_ASGI": addresses.listen_asgi,
        "PROVISION_WORKERS": str(server.workers),
        "PROVISION_GENAI": str(server.genai).lower(),
        "MLFLOW_SERVER_ALLOWED_HOSTS": _allowed_hosts(server),
    }
    if server.genai:
        environment["PROVISION_JOBS_URI"] = addresses.jobs
    if server.public_url:
        environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = public_origin(server)
    if stack.login:
        own = postgres_uri(MLFLOW_ROLE, AUTH_DATABASE, addresses.postgres)
        environment["PROVISION_AUTH_STORE"] = backend if stack.settings.backend_store.uri else own
        environment["PROVISION_DEFAULT_PERMISSION"] = server.default_permission
    store = stack.settings.artifact_store
    endpoint = f"http://{addresses.minio}" if stack.artifacts == "minio" else store.endpoint_url
    if stack.artifacts != "local":
        environment["AWS_DEFAULT_REGION"] = store.region
        if endpoint:
            environment["MLFLOW_S3_ENDPOINT_URL"] = endpoint
    return environment


def artifacts_destination(stack: Stack, addresses: Addresses) -> str:
    """Return where the server keeps artifacts: `s3://BUCKET[/PREFIX]` or a directory."""
    if stack.artifacts == "local":
        return addresses.artifacts
    store = stack.settings.artifact_store
    return f"s3://{store.bucket}" + (f"/{store.prefix}" if store.prefix else "")


def _allowed_hosts(server: ServerSettings) -> str:
    """Return the Host headers that MLflow accepts.

    Its match includes the port, so each name stands with and without one.
    """
    names = [*dict.fromkeys(filter(None, (public_host(server), *server.allowed_hosts, *_MACHINE_IN_CONTAINERS)))]
    return ",".join([*(form for name in names for form in _forms(in_url(name))), ANY_LOCAL_HOST])


def _forms(host: str) -> tuple[str, str]:
    return host, f"{host.replace('[', '[[]')}:*"
