"""The tracking server: its environment, and uvicorn around the application in `app.py`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from settings import Fault, Settings, export_s3_key

# Per store; tracking, registry and login each have a pool, and PostgreSQL takes 100 connections.
CONNECTIONS = 24
AUTH_CACHE_SECONDS = 30


def serve(settings: Settings) -> None:
    """Runs the server until it is told to end; Fault when it cannot start."""
    if directory := os.environ.get("PROVISION_TMP"):
        os.environ["TMPDIR"] = directory
    export_environment(settings)
    _clean_temporary_files()
    if not settings.on_s3:
        _check_directory(settings.artifacts)
    import uvicorn

    uvicorn.run(
        "app:create",
        factory=True,
        app_dir=str(Path(__file__).parent),
        workers=settings.workers,
        access_log=False,
        log_level="info",
        proxy_headers=False,
        server_header=False,
        # Longer than the front door keeps idle connections, or it would meet one that just closed.
        timeout_keep_alive=300,
        timeout_graceful_shutdown=45,
        **_listen(settings.listen),
    )


def export_environment(settings: Settings) -> None:
    """What MLflow reads from its environment only; its `_MLFLOW_*` names are private to the pinned version."""
    pool = max(2, CONNECTIONS // settings.workers // 2)
    os.environ.update(
        {
            "PGPASSWORD": settings.secret("backend_store_password"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.secret("flask_secret_key"),
            "MLFLOW_CRYPTO_KEK_PASSPHRASE": settings.secret("crypto_kek_passphrase"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ENABLE_AI_GATEWAY": str(settings.genai).lower(),
            "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(pool),
            "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(pool),
            "_MLFLOW_SERVER_FILE_STORE": settings.backend_store,
            "_MLFLOW_SERVER_REGISTRY_STORE": settings.backend_store,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",
        }
    )
    export_s3_key(settings)
    if settings.login:
        os.environ["MLFLOW_AUTH_CONFIG_PATH"] = _auth_file(settings)


def _check_directory(path: str) -> None:
    if not os.access(path, os.W_OK | os.X_OK):
        raise Fault(f"the artifact directory {path} cannot be written by uid {os.getuid()}")


def _auth_file(settings: Settings) -> str:
    """MLflow's login settings as the file it reads; it holds no secret, since libpq has the password from the environment."""
    lines = {
        "default_permission": settings.default_permission,
        "database_uri": settings.auth_store,
        "admin_username": "admin",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(AUTH_CACHE_SECONDS),
    }
    text = "[mlflow]\n" + "".join(f"{key} = {value.replace('%', '%%')}\n" for key, value in lines.items())
    handle, path = tempfile.mkstemp(prefix="provision-auth-", suffix=".ini")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return path


def _clean_temporary_files() -> None:
    """What a killed server left of half transferred artifacts; the directory is this server's alone."""
    own = os.environ.get("MLFLOW_AUTH_CONFIG_PATH", "")
    directory = os.environ.get("PROVISION_TMP")
    if not directory:
        return
    for entry in os.scandir(directory):
        if entry.path == own:
            continue
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def _listen(listen: str) -> dict[str, Any]:
    if listen.startswith("unix:"):
        return {"uds": listen.removeprefix("unix:")}
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise Fault(f"PROVISION_LISTEN must be HOST:PORT or unix:PATH, not {listen}")
    return {"host": host, "port": int(port)}
