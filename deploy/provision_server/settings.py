"""What the environment says of a stack's server, and its secret files; stdlib only, so a probe stays fast."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


class Fault(Exception):
    """What is wrong and what to do, in one line for the log."""


@dataclass(frozen=True)
class Settings:
    """The server's settings as its environment has them."""

    secrets: Path
    backend_store: str
    auth_store: str
    postgres_admin: str
    artifacts: str
    s3_endpoint: str
    minio_admin: str
    login: bool
    default_permission: str
    listen: str
    """Where Flask's application listens: HOST:PORT or unix:PATH."""
    listen_asgi: str
    """Where FastAPI's does."""
    workers: int | None
    """None: as many as fit."""
    genai: bool
    indexes: bool
    """Whether bootstrap makes indexes of its own in the tracking database."""
    fast: bool
    """Whether our own tracking store answers hot calls where it may, which `stores/pinned.py` says."""
    jobs_uri: str
    """Where MLflow's jobs reach the server."""
    deadline: float

    def secret(self, name: str) -> str:
        """Return the secret's value; raise Fault when its file cannot be read or is empty."""
        path = self.secrets / name
        try:
            value = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Fault(f"secret {name} cannot be read: {error.strerror} ({path})") from None
        if not value:
            raise Fault(f"secret {name} is empty ({path})")
        return value


def read_settings() -> Settings:
    """Return the settings of this process; raise Fault, which names the variable, when one is missing."""
    get = os.environ.get
    workers = get("PROVISION_WORKERS", "auto")
    try:
        return Settings(
            secrets=Path(get("PROVISION_SECRETS", "/run/secrets")),
            backend_store=os.environ["PROVISION_BACKEND_STORE"],
            auth_store=get("PROVISION_AUTH_STORE", ""),
            postgres_admin=get("PROVISION_POSTGRES_ADMIN", ""),
            artifacts=os.environ["PROVISION_ARTIFACTS_DESTINATION"],
            s3_endpoint=get("MLFLOW_S3_ENDPOINT_URL", ""),
            minio_admin=get("PROVISION_MINIO_ADMIN", ""),
            login=get("PROVISION_AUTH", "none") == "basic",
            default_permission=get("PROVISION_DEFAULT_PERMISSION", "EDIT"),
            listen=get("PROVISION_LISTEN", "0.0.0.0:5000"),
            listen_asgi=get("PROVISION_LISTEN_ASGI", "0.0.0.0:5001"),
            workers=None if workers == "auto" else int(workers),
            genai=get("PROVISION_GENAI", "false") == "true",
            # A stack of an older release says nothing of these two.
            indexes=get("PROVISION_INDEXES", "false") == "true",
            fast=get("PROVISION_FAST", "true") == "true",
            jobs_uri=get("PROVISION_JOBS_URI", ""),
            deadline=float(get("PROVISION_DEADLINE", "120")),
        )
    except KeyError as missing:
        raise Fault(f"the variable {missing.args[0]} is not set") from None
