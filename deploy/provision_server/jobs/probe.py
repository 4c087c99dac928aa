"""Questions to a running stack, answered from inside: `probe ready | artifact PATH | usage | versions`."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from provision_server.settings import Fault, Settings
from provision_server.stores.artifacts import artifact_store


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
    size = artifact_store(settings).size(path)
    return {"exists": size is not None, "size": size or 0}


def _usage(settings: Settings) -> dict[str, Any]:
    from provision_server.stores.postgres import query

    store, connection = artifact_store(settings), _database(settings)
    own = query(connection, "SELECT pg_database_size(current_database())")[0][0]
    objects, size = store.usage()
    return {
        "backend_store_bytes": int(own),
        "artifact_free_bytes": store.free(),
        "artifact_objects": objects,
        "artifact_store_bytes": size,
    }


def _versions(settings: Settings) -> dict[str, Any]:
    from importlib.metadata import version

    from provision_server.stores.pinned import reason_against
    from provision_server.stores.postgres import query
    from provision_server.stores.schema import TRACKING, current

    connection = _database(settings)
    return {
        "mlflow": version("mlflow"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "postgres": query(connection, "SHOW server_version")[0][0].split()[0],
        "schema": current(connection, TRACKING),
        # An older program shows all that is not empty here.
        "reason_against_fast": reason_against(settings),
    }


def _database(settings: Settings) -> Any:
    from provision_server.stores.postgres import connect

    return connect(settings.backend_store, settings.secret("backend_store_password"), deadline=5)
