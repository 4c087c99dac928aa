"""The tracking server: its environment, and gunicorn around the applications of `application.py`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

from provision_server.settings import Settings
from provision_server.stores.artifacts import artifact_store
from provision_server.stores.pinned import reason_against
from provision_server.stores.postgres import CONNECT_SECONDS
from provision_server.stores.statements import OPTIONS
from provision_server.web.patient_server import OURS_SECONDS
from provision_server.web.sizing import Sizing, cores_here, memory_here_mb, sizing

AUTH_CACHE_SECONDS = 30
FILES = 8192
ENOUGH_FOR_TWO = 400
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
DIRECTORY = "server-"


def serve(settings: Settings) -> None:
    """Run the server until it is told to end; raise Fault when it cannot start."""
    own = own_directory(Path(os.environ.get("PROVISION_TMP") or tempfile.gettempdir()))
    tempfile.tempdir = os.environ["TMPDIR"] = str(own)
    artifact_store(settings).check()
    allow_files()
    export_environment(settings)
    # Importing MLflow takes seconds: bootstrap works meanwhile.
    from provision_server.web import application
    from provision_server.web.workers import Server

    application.wait_for_bootstrap(settings)
    reason = reason_against(settings)
    if settings.login:
        # Read when MLflow's login is imported, which is not yet.
        os.environ["MLFLOW_AUTH_CONFIG_PATH"] = _auth_file(settings, fast=not reason)
    size = sizing(settings.workers, cores_here(), memory_here_mb(), _max_connections(settings))
    # Two for each thread stay open once they were needed.
    # No overflow at all would mean SQLAlchemy's default to MLflow.
    kept = min(2 * size.threads, size.pool - 1)
    os.environ["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"] = str(kept)
    os.environ["MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"] = str(size.pool - kept)
    flask, asgi = application.applications(settings, size.threads, reason)
    options = _options(settings, size)
    if settings.genai:
        options["when_ready"] = lambda arbiter: start_jobs(settings, os.getpid())
    print(
        f"server: {size.workers} workers of {size.threads} threads, {size.pool} connections for each pool",
        flush=True,
    )
    here = os.getpid()
    if "LISTEN_FDS" in os.environ:
        # The sockets of `listening.py`, as systemd would hand them over:
        # gunicorn then leaves their files alone.
        os.environ["LISTEN_PID"] = str(here)
    try:
        Server(flask, asgi, options).run()
    finally:
        # A worker comes along here, too, when it ends.
        if os.getpid() == here:
            shutil.rmtree(own, ignore_errors=True)


def _max_connections(settings: Settings) -> int:
    """Return the number of connections that this server may open."""
    from provision_server.stores.postgres import connect, query

    connection = connect(settings.backend_store, settings.secret("backend_store_password"), settings.deadline)
    try:
        limit = int(query(connection, "SHOW max_connections")[0][0])
    finally:
        connection.close()
    # For a while two servers run, when one takes the other's place.
    # A smaller database has too few for both at their busiest.
    return limit // 2 if limit >= ENOUGH_FOR_TWO else limit


def _options(settings: Settings, size: Sizing) -> dict[str, Any]:
    """Return gunicorn's settings."""
    return {
        "bind": [settings.listen, settings.listen_asgi],
        "workers": size.workers + 1,
        "preload_app": True,
        # Of the worker's heartbeat, not of a request.
        "timeout": 60,
        "graceful_timeout": 45,
        "keepalive": OURS_SECONDS,
        "backlog": 512,
        # The proxy has limits for both; gunicorn's own refuse what MLflow's page asks for a hundred runs.
        "limit_request_line": 0,
        "limit_request_field_size": 0,
        # Heartbeats are files: in memory where there is such a place.
        "worker_tmp_dir": str(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
        "control_socket_disable": True,
        # A worker that leaks is renewed; the jitter keeps them from doing it together.
        "max_requests": 20_000,
        "max_requests_jitter": 5_000,
        "loglevel": "warning",
    }


def export_environment(settings: Settings) -> None:
    """Set what MLflow reads from its environment only.

    Its `_MLFLOW_*` names are private to the pinned version.
    """
    os.environ.update(
        {
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGOPTIONS": OPTIONS,
            "PGPASSWORD": settings.secret("backend_store_password"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.secret("flask_secret_key"),
            "MLFLOW_CRYPTO_KEK_PASSPHRASE": settings.secret("crypto_kek_passphrase"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": str(settings.genai).lower(),
            "MLFLOW_ENABLE_AI_GATEWAY": str(settings.genai).lower(),
            "_MLFLOW_SERVER_FILE_STORE": settings.backend_store,
            "_MLFLOW_SERVER_REGISTRY_STORE": settings.backend_store,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": settings.artifacts,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",
        }
    )
    artifact_store(settings).export()
    if settings.genai:
        # Shared by the workers, which put jobs there, and the processes that run them.
        os.environ["_MLFLOW_HUEY_STORAGE_PATH"] = tempfile.mkdtemp(prefix="provision-jobs-")
        os.environ["_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"] = secrets.token_hex(32)


def start_jobs(settings: Settings, server: int) -> None:
    """Start MLflow's job runner as a child of the server, with which it ends."""
    from mlflow.server.jobs.utils import _launch_job_execution_runner

    uri = settings.jobs_uri
    _launch_job_execution_runner(  # type: ignore[no-untyped-call, unused-ignore]
        {
            "MLFLOW_BACKEND_STORE_URI": settings.backend_store,
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_GATEWAY_URI": uri,
        },
        server,
    )


def allow_files() -> None:
    """Let this process and its workers open as many files as the system allows, within reason.

    Each connection is one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _auth_file(settings: Settings, *, fast: bool) -> str:
    """Write MLflow's login settings to a file for it to read; return the path.

    The file holds no secret, since libpq has the password from the environment.
    """
    from provision_server.stores.connections import kept_alive, looked_at

    uri = kept_alive(settings.auth_store)
    uris = {"database_uri": uri}
    if fast:
        # One database: what reads asks it once, where MLflow's own way asks four times.
        uris = {"database_uri": looked_at(uri), "read_database_uri": looked_at(uri, at_once=True)}
    lines = {
        "default_permission": settings.default_permission,
        **uris,
        "admin_username": "admin",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(AUTH_CACHE_SECONDS),
    }
    text = "[mlflow]\n" + "".join(f"{key} = {value.replace('%', '%%')}\n" for key, value in lines.items())
    handle, path = tempfile.mkstemp(prefix="provision-auth-", suffix=".ini")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return path


def own_directory(folder: Path) -> Path:
    """Make a directory in the folder for this server's half transferred artifacts; return it.

    Remove those of servers that have ended. Another server may run, which this one takes the place of: a lock
    on the directory, which ends with the last process of its server, says whose is in use.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.glob(f"{DIRECTORY}*"):
        with contextlib.suppress(OSError):
            _lock(left)
            shutil.rmtree(left, ignore_errors=True)
    own = Path(tempfile.mkdtemp(prefix=DIRECTORY, dir=folder))
    _lock(own)
    return own


def _lock(directory: Path) -> None:
    """Lock the directory while this process or a worker of it lives; OSError when another server did so."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
