"""The ASGI application that uvicorn loads: MLflow's own, with our artifact repository for S3."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import postgres
from settings import Fault, Settings, read_settings


def create() -> Any:
    """MLflow's application once bootstrap is done; a fault ends the process with one line instead of uvicorn's traceback."""
    try:
        with _ended_by_sigterm():
            return _application(read_settings())
    except Fault as fault:
        print(f"server: {fault}", file=sys.stderr, flush=True)
        sys.exit(1)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the process at once: uvicorn's own handler is heard only after the wait for bootstrap, minutes later."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _application(settings: Settings) -> Any:
    """The imports, which take seconds, come first: they run while bootstrap works."""
    import mlflow.server.fastapi_app  # noqa: F401

    if settings.on_s3:
        _never_send_clients_to_the_store()
    _wait_for_bootstrap(settings)
    if settings.login:
        from mlflow.server.auth import create_app

        return create_app()
    from mlflow.server.fastapi_app import app

    return app


def _never_send_clients_to_the_store() -> None:
    """Register an S3 repository without MLflow's presigning parts: it would hand clients URLs of the internal store."""
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    class ProxiedS3ArtifactRepository(ArtifactRepository):  # type: ignore[misc, unused-ignore]
        """MLflow's S3 repository, offering only what goes through the server."""

        def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
            super().__init__(artifact_uri, tracking_uri, registry_uri)
            self._s3 = S3ArtifactRepository(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)

        def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
            self._s3.log_artifact(local_file, artifact_path)

        def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
            self._s3.log_artifacts(local_dir, artifact_path)

        def list_artifacts(self, path: str | None = None) -> Any:
            return self._s3.list_artifacts(path)

        def _download_file(self, remote_file_path: str, local_path: str) -> None:
            self._s3._download_file(remote_file_path, local_path)

        def delete_artifacts(self, artifact_path: str | None = None) -> None:
            self._s3.delete_artifacts(artifact_path)

        def upload_archived_trace_data_bytes(self, data: bytes) -> None:
            self._s3.upload_archived_trace_data_bytes(data)

    _artifact_repository_registry.register("s3", ProxiedS3ArtifactRepository)


def _wait_for_bootstrap(settings: Settings) -> None:
    """Returns once the role can log in, experiment 0 is there, and with a login the admin; Fault at the deadline."""
    end = time.monotonic() + settings.deadline
    password = settings.secret("backend_store_password")
    questions = [(settings.backend_store, "SELECT 1 FROM experiments WHERE experiment_id = 0")]
    if settings.login:
        questions.append((settings.auth_store, "SELECT 1 FROM users LIMIT 1"))
    for uri, question in questions:
        while not _answered(uri, password, question, end - time.monotonic()):
            if time.monotonic() > end:
                raise Fault(f"bootstrap was not done within {settings.deadline:.0f} s; see its log")
            time.sleep(0.05)


def _answered(uri: str, password: str, question: str, left: float) -> bool:
    """Whether the question has a row; until bootstrap has made the role and the database, refusals are passing."""
    import psycopg2

    unready = ("password authentication failed", "does not exist")
    connection = postgres.connect(uri, password, max(left, 1), lambda seen: any(text in seen for text in unready))
    try:
        return bool(postgres.query(connection, question))
    except psycopg2.Error:
        return False
    finally:
        connection.close()
