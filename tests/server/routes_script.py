"""Run in the server's environment: prints every route of MLflow's two applications as JSON."""

from __future__ import annotations

import json
import os

os.environ |= {"_MLFLOW_SERVER_SERVE_ARTIFACTS": "true", "_MLFLOW_SGI_NAME": "uvicorn"}

from fastapi.routing import iter_route_contexts
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app as fastapi_app
from starlette.routing import Mount

flask = [(method, rule.rule) for rule in flask_app.url_map.iter_rules() for method in rule.methods or ()]
contexts = [
    context
    for context in iter_route_contexts(fastapi_app.routes)
    if not isinstance(context.original_route, Mount)
]
fastapi = [(method, str(context.path)) for context in contexts for method in context.methods or {"GET"}]
print(json.dumps({"flask": sorted(flask), "fastapi": sorted(fastapi)}))
