"""MLflow's two applications with login, and every route of them.

Stands before scripts that run under a server's own interpreter.
"""

import os
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Flask

folder = tempfile.mkdtemp()
config = pathlib.Path(folder) / "auth.ini"
config.write_text(
    f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
    "admin_username = admin\nadmin_password = only-for-this-list-1\n"
    "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
)
os.environ |= {
    "MLFLOW_AUTH_CONFIG_PATH": str(config),
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "only-for-this-list",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",
    "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    "_MLFLOW_SGI_NAME": "uvicorn",
}


def filled(path: str, values: Mapping[str, object] | None = None) -> str:
    """The path with `x`, or its value, for each parameter.

    These are `<int:version>`, `<path:artifact_path>`, `{name}`, `{path:path}`.
    """

    def value(found: re.Match[str]) -> str:
        kind, name = found[1] or "", found[2] or found[3]
        return str((values or {}).get(name, 1 if kind == "int:" else "x"))

    return re.sub(r"<([a-z]+:)?([^>]*)>|\{([^}:]*)(?::[^}]*)?\}", value, path)


def applications() -> "tuple[Flask, FastAPI]":
    from mlflow.server import app
    from mlflow.server.auth import create_app

    return app, create_app(app)


def pairs(
    flask: "Flask", asgi: "FastAPI", values: Mapping[str, object] | None = None
) -> list[tuple[str, str]]:
    """Every pair of method and path, sorted."""
    from fastapi.routing import iter_route_contexts
    from starlette.routing import Mount

    found = {
        (method, filled(rule.rule, values))
        for rule in flask.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for context in iter_route_contexts(asgi.routes):
        if not isinstance(context.original_route, Mount):
            methods = (
                getattr(context, "methods", None)
                or getattr(context.original_route, "methods", None)
                or {"GET"}
            )
            found |= {(method, filled(str(context.path), values)) for method in methods}
    return sorted(pair for pair in found if pair[0] not in {"HEAD", "OPTIONS"})
