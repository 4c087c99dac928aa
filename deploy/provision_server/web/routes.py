"""The paths that only MLflow's FastAPI application answers, or answers better, as Caddy's path matchers.

`routes.py` prints them, one a line; `make lock` keeps them in `asgi_paths.txt`, and a test compares.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

# The page's files, which our own application sends.
PAGE_FILES = "/static-files"


def asgi_paths(application: Any) -> list[str]:
    """Return the fewest matchers that cover the FastAPI application's own routes, and the page's files."""
    from fastapi.routing import iter_route_contexts
    from starlette.routing import Mount

    own = [
        context
        for context in iter_route_contexts(application.routes)
        if not isinstance(context.original_route, Mount)
    ]
    return _fewest([f"{PAGE_FILES}/*", *(_matcher(str(context.path)) for context in own)])


def _matcher(path: str) -> str:
    """Return a matcher of what stands before the first parameter, and all below it.

    What it matches too much is handed on to Flask anyway.
    """
    fixed, parameter, _ = path.partition("{")
    return f"{fixed[: fixed.rindex('/')]}/*" if parameter else fixed


def _fewest(matchers: Iterable[str]) -> list[str]:
    found = sorted(set(matchers))
    wide = [matcher.removesuffix("*") for matcher in found if matcher.endswith("*")]
    return [
        matcher
        for matcher in found
        if not any(matcher.startswith(base) and matcher != f"{base}*" for base in wide)
    ]


def main() -> None:
    """Print the paths of the installed MLflow."""
    os.environ |= {"_MLFLOW_SERVER_SERVE_ARTIFACTS": "true", "_MLFLOW_SGI_NAME": "uvicorn"}
    from mlflow.server.fastapi_app import app

    print("\n".join(asgi_paths(app)))


if __name__ == "__main__":
    main()
