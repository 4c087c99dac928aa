"""Questions to a running stack, answered from inside: `probe ready | artifact PATH | usage | versions`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from provision_server.settings import Fault, Settings


def probe(settings: Settings, arguments: list[str]) -> int:
    """Print the answer as JSON on standard output; return the exit code, by which alone `ready` answers."""
    match arguments:
        case ["ready"]:
            return 0 if _ready(settings.listen) and _ready(settings.listen_asgi) else 1
        case ["artifact", path]:
            answer = _artifact(settings, path)
        case ["usage"]:
            answer = _usage(settings)
        case ["versions"]:
            answer = _versions(settings)
        case _:
            raise Fault("probe ready | artifact PATH | usage | versions")
    print(json.dumps(answer))
    return 0


def _ready(listen: str) -> bool:
    """Return whether the server answers; use the bare protocol, since this is asked every few seconds."""
    try:
        if listen.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(3)
            connection.connect(listen.removeprefix("unix:"))
        else:
            connection = socket.create_connection(("127.0.0.1", int(listen.rpartition(":")[2])), timeout=3)
        with connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError as error:
        print(error, file=sys.stderr)
        return False


def _artifact(settings: Settings, path: str) -> dict[str, Any]:
    if not settings.on_s3:
        file = Path(settings.artifacts) / path
        return {"exists": file.is_file(), "size": file.stat().st_size if file.is_file() else 0}
    from botocore.exceptions import ClientError

    bucket, prefix = settings.bucket
    try:
        found = _client(settings).head_object(Bucket=bucket, Key=f"{prefix}/{path}".lstrip("/"))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return {"exists": False, "size": 0}
        raise Fault(f"the artifact store refused: {error}") from None
    return {"exists": True, "size": found["ContentLength"]}


def _usage(settings: Settings) -> dict[str, Any]:
    from provision_server.stores.postgres import query

    connection = _database(settings)
    own = query(connection, "SELECT pg_database_size(current_database())")[0][0]
    answer: dict[str, Any] = {"backend_store_bytes": int(own), "artifact_free_bytes": None}
    objects, size = _stored(settings)
    if not settings.on_s3:
        answer["artifact_free_bytes"] = shutil.disk_usage(settings.artifacts).free
    return answer | {"artifact_objects": objects, "artifact_store_bytes": size}


def _stored(settings: Settings) -> tuple[int, int]:
    """Return how many artifacts and bytes the store has."""
    if not settings.on_s3:
        sizes = [entry.stat().st_size for entry in Path(settings.artifacts).rglob("*") if entry.is_file()]
        return len(sizes), sum(sizes)
    bucket, prefix = settings.bucket
    objects = size = 0
    for page in _client(settings).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            objects, size = objects + 1, size + item["Size"]
    return objects, size


def _versions(settings: Settings) -> dict[str, Any]:
    from importlib.metadata import version

    from provision_server.stores.postgres import query
    from provision_server.stores.schema import TRACKING, current

    connection = _database(settings)
    return {
        "mlflow": version("mlflow"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "postgres": query(connection, "SHOW server_version")[0][0].split()[0],
        "schema": current(connection, TRACKING),
    }


def _database(settings: Settings) -> Any:
    from provision_server.stores.postgres import connect

    return connect(settings.backend_store, settings.secret("backend_store_password"), deadline=5)


def _client(settings: Settings) -> Any:
    from provision_server.stores.artifacts_s3 import s3_client

    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    return s3_client(settings, settings.secret("s3_access_key_id"), settings.secret("s3_secret_access_key"))
