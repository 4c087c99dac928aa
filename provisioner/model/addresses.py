"""Where the parts of a running stack find each other."""

from __future__ import annotations

from dataclasses import dataclass


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
    """What the proxy dials for the first, in Caddy's words: HOST:PORT or unix/PATH."""
    upstream_asgi: str
    """What it dials for the second."""
    front: str
    """What the proxy listens on, in Caddy's words."""
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
    """What the proxy binds in place of `front` and `front_http`, in Caddy's words: sockets that it is
    given."""


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
