"""The reference: `mlflow server` itself, the same packages, on a database of its own beside the stack's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.server.deployed import Deployed, Peer, eventually
from tests.support.ports import free_port

START_DEADLINE = 120.0
FIRST = 70_000


@contextmanager
def reference(deployed: Deployed) -> Iterator[Peer]:
    """The reference server, until the caller is done; nothing of it is left."""
    name = f"reference_{uuid.uuid4().hex[:8]}"
    deployed.query(f"CREATE DATABASE {name} OWNER mlflow", user="postgres", database="postgres")
    try:
        with (_process if deployed.embedded else _container)(deployed, name) as peer:
            # Experiments are numbered: from here on alike.
            for where in ("mlflow", name):
                deployed.query(
                    "SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'), %s)",
                    FIRST,
                    database=where,
                )
            yield peer
    finally:
        deployed.query(f"DROP DATABASE {name} WITH (FORCE)", user="postgres", database="postgres")


def _variables(deployed: Deployed) -> dict[str, str]:
    from provisioner.model.environment import ANY_LOCAL_HOST

    return {
        "PGPASSWORD": deployed.program.secret("backend_store_password"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ANY_LOCAL_HOST,
    }


def _arguments(host: str, port: int, database: str, at: str, artifacts: str) -> list[str]:
    store = (
        f"postgresql+psycopg2://mlflow@/{database}?host={at}"
        if at.startswith("/")
        else f"postgresql+psycopg2://mlflow@{at}/{database}"
    )
    listen = ["--host", host, "--port", str(port), "--workers", "1"]
    # MLflow's own requirements have no httptools, which uvicorn would take where it is there.
    return [
        "server",
        *listen,
        "--uvicorn-opts",
        "--http h11",
        "--backend-store-uri",
        store,
        "--artifacts-destination",
        artifacts,
    ]


@contextmanager
def _process(deployed: Deployed, database: str) -> Iterator[Peer]:
    folder = deployed.program.stack.parent / database
    folder.mkdir()
    account = deployed.account()
    if account:
        shutil.chown(folder, account["user"], account["group"])
    environment = deployed.memory["environment"]
    peer = Peer(f"127.0.0.1:{free_port()}")
    arguments = _arguments(
        "127.0.0.1", int(peer.address.rpartition(":")[2]), database, deployed.run, str(folder / "artifacts")
    )
    env = _variables(deployed) | {
        "PATH": f"{environment}/bin:{os.environ['PATH']}",
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }
    try:
        with open(folder.with_suffix(".log"), "w+", encoding="utf-8") as log:
            argv = [f"{environment}/bin/python", "-m", "mlflow", *arguments]
            with subprocess.Popen(
                argv, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True, **account
            ) as process:
                try:
                    _wait(peer, log)
                    yield peer
                finally:
                    _end_group(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".log").unlink(missing_ok=True)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """The server and all that it started: its own session, so its own group."""
    import signal

    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _container(deployed: Deployed, database: str) -> Iterator[Peer]:
    ours = json.loads(_docker("inspect", deployed.program.container("mlflow")))[0]["Config"]
    variables = _variables(deployed) | {
        "AWS_ACCESS_KEY_ID": deployed.program.secret("s3_access_key_id"),
        "AWS_SECRET_ACCESS_KEY": deployed.program.secret("s3_secret_access_key"),
        "AWS_DEFAULT_REGION": "us-east-1",
        # As the stack's own server has it: without, boto3 asks a store in other words.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "MLFLOW_S3_ENDPOINT_URL": "http://minio:9000",
    }
    names = [part for name in variables for part in ("-e", name)]
    argv = [
        "run",
        "-d",
        "--network",
        f"{deployed.program.project}_data",
        *names,
        "--entrypoint",
        "/opt/venv/bin/mlflow",
        ours["Image"],
    ]
    everywhere = "0.0.0.0"
    arguments = _arguments(everywhere, 5000, database, "postgres", f"s3://mlflow/{database}")
    container = _docker(*argv, *arguments, env={**os.environ, **variables}).strip()
    try:
        facts = json.loads(_docker("inspect", container))[0]
        (network,) = facts["NetworkSettings"]["Networks"].values()
        peer = Peer(f"{network['IPAddress']}:5000")
        _wait(peer, container)
        yield peer
    finally:
        _docker("rm", "--force", "--volumes", container)


def _wait(peer: Peer, log: IO[str] | str) -> None:
    def answers() -> bool:
        try:
            return peer("GET", "/version", timeout=5).status == 200
        except OSError:
            return False

    try:
        eventually(answers, "the reference answers", deadline=START_DEADLINE)
    except AssertionError as late:
        said = _docker("logs", log) if isinstance(log, str) else Path(log.name).read_text()
        raise AssertionError(f"{late}\n{said[-3000:]}") from None


def _docker(*arguments: str, env: dict[str, str] | None = None) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, env=env).stdout
