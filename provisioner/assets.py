"""The static files of a stack: in the wheel beside the package, in a checkout at the repository's top."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

SERVER_IMAGE = (
    "Dockerfile",
    ".dockerignore",
    "deploy/requirements-build.txt",
    "deploy/requirements-compress.txt",
    "deploy/requirements.txt",
)
_LOCK = "deploy/requirements.txt"
SERVER_CODE = "deploy/provision_server"


def asset_path(relative: str) -> Path:
    """Return the path of the static file or directory of that name."""
    package = Path(__file__).parent
    inside = package / "_assets"
    return (inside if inside.is_dir() else package.parent) / relative


def server_code() -> dict[str, bytes]:
    """Return the server's own Python files by their path in a stack directory."""
    folder = asset_path(SERVER_CODE)
    return {
        f"{SERVER_CODE}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*.py"))
    }


def image_files() -> dict[str, bytes]:
    """Return the files that the server image is built from, by path in a stack directory."""
    return {name: asset_path(name).read_bytes() for name in SERVER_IMAGE} | server_code()


@cache
def mlflow_version() -> str:
    """Return the version of MLflow that this release locks."""
    lock = asset_path(_LOCK).read_text(encoding="utf-8")
    return str(re.findall(r"^mlflow==(\S+)", lock, re.MULTILINE)[0])


def asgi_paths() -> list[str]:
    """Return the paths that the pinned MLflow's FastAPI application answers, as Caddy's path matchers."""
    return asset_path(f"{SERVER_CODE}/web/asgi_paths.txt").read_text(encoding="utf-8").split()
