"""Runs under a server's own interpreter: every pair of method and path of MLflow's two applications with login, as one JSON list.

Parameters in paths are `x`, or what a JSON object, the one argument, says for their names.
"""

import json
import os
import pathlib
import re
import sys
import tempfile

folder = tempfile.mkdtemp()
config = pathlib.Path(folder) / "auth.ini"
config.write_text(
    f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\n"
    "admin_password = only-for-this-list-1\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
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


VALUES = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}


def filled(path: str) -> str:
    """The path with something in place of each parameter: `<int:version>`, `<path:artifact_path>`, `{name}`, `{path:path}`."""

    def value(found: re.Match[str]) -> str:
        kind, name = found[1] or "", found[2] or found[3]
        return str(VALUES.get(name, 1 if kind == "int:" else "x"))

    return re.sub(r"<([a-z]+:)?([^>]*)>|\{([^}:]*)(?::[^}]*)?\}", value, path)


def main() -> None:
    from fastapi.routing import iter_route_contexts
    from mlflow.server import app as flask_app
    from mlflow.server.auth import create_app
    from starlette.routing import Mount

    asgi = create_app(flask_app)
    pairs = {(method, filled(rule.rule)) for rule in flask_app.url_map.iter_rules() for method in rule.methods}
    for context in iter_route_contexts(asgi.routes):
        if not isinstance(context.original_route, Mount):
            methods = getattr(context, "methods", None) or getattr(context.original_route, "methods", None) or {"GET"}
            pairs |= {(method, filled(str(context.path))) for method in methods}
    json.dump(sorted(pair for pair in pairs if pair[0] not in {"HEAD", "OPTIONS"}), sys.stdout)


main()
