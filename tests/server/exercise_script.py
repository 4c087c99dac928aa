"""Run in the server image alone: answers every route of MLflow's applications, prints the modules that took.

The database is a file, so that nothing but the image is there.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from typing import Any

FOLDER = tempfile.mkdtemp()
STORE = f"sqlite:///{FOLDER}/mlflow.db"
os.environ |= {
    "_MLFLOW_SERVER_FILE_STORE": STORE,
    "_MLFLOW_SERVER_REGISTRY_STORE": STORE,
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
    "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"{FOLDER}/artifacts",
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    "_MLFLOW_SGI_NAME": "uvicorn",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-key-of-a-test",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE": "a-passphrase-of-a-test",
}
LOOKED_FOR: set[str] = set()


class NotFound:
    """The last finder: what comes here is nowhere."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if path is None:
            LOOKED_FOR.add(name)


async def ask(application: Any, method: str, path: str) -> tuple[int, bytes]:
    """The application's answer; it is called as a server would."""
    body = b"{}" if method in {"POST", "PUT", "PATCH", "DELETE"} else b""
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
    }
    scope |= {
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
    }
    scope |= {"client": ("127.0.0.1", 50000), "server": ("localhost", 80), "state": {}}
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    status, parts = 0, []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    try:
        await asyncio.wait_for(application(scope, receive, send), 120)
    except Exception as error:
        parts.append(f"{type(error).__name__}: {error}".encode())
    return status, b"".join(parts)


async def main() -> None:
    sys.meta_path.append(NotFound)
    # The server's own modules, and all of its imports.
    sys.path.insert(0, "/opt/provision")
    import mlflow.server.auth  # noqa: F401
    from fastapi.routing import iter_route_contexts
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores
    from starlette.routing import Mount

    from provision_server.jobs import (
        bootstrap,  # noqa: F401
        probe,  # noqa: F401
    )
    from provision_server.stores import artifacts_s3  # noqa: F401
    from provision_server.web import (
        gunicorn_app,  # noqa: F401
        request_body,  # noqa: F401
        workers,  # noqa: F401
    )

    initialize_backend_stores(STORE, STORE, "mlflow-artifacts:/")
    routes = {(method, rule.rule) for rule in flask_app.url_map.iter_rules() for method in rule.methods or ()}
    own = [
        context
        for context in iter_route_contexts(app.routes)
        if not isinstance(context.original_route, Mount)
    ]
    routes |= {(method, str(context.path)) for context in own for method in context.methods or {"GET"}}
    answers = []
    for method, path in sorted(routes):
        status, body = await ask(app, method, re.sub(r"[<{][^>}]*[>}]", "0", path))
        answers.append((method, path, status, body.decode("utf-8", "replace")[:2000]))
    missing = [
        answer
        for answer in answers
        if re.search(r"No module named|ModuleNotFoundError|ImportError|not installed", answer[3])
    ]
    files = {name: str(getattr(module, "__file__", "") or "") for name, module in list(sys.modules.items())}
    print(
        json.dumps(
            {
                "routes": len(answers),
                "missing": missing,
                "files": files,
                "looked_for": sorted(LOOKED_FOR),
                "prefix": sys.base_prefix,
            }
        )
    )


asyncio.run(main())
