"""The tests' programs that come as Go modules: built once for each version, and kept.

`python -m tests.support.go_programs [NAME ...]` builds those that are missing, all without a name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import CACHE

PEBBLE = "github.com/letsencrypt/pebble/v2/cmd"
MODULES = {
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    "pebble": f"{PEBBLE}/pebble@v2.10.3",
    "pebble-challtestsrv": f"{PEBBLE}/pebble-challtestsrv@v2.10.3",
}


def go_program(name: str) -> Path:
    """Return the program, once whoever builds it now is done; RuntimeError where it is not built."""
    program = _folder(name) / name
    if not program.exists() and program.parent.exists():
        with _lock(program.parent):
            pass
    if not program.exists():
        raise RuntimeError(f"{name} is not built (make programs)")
    return program


def build(name: str) -> Path:
    """Return the program, built now unless it was before; minutes for MinIO. RuntimeError where there is no Go, or it fails."""
    folder = _folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        if not (folder / name).exists():
            _build(MODULES[name], name, folder)
    return folder / name


def needed(name: str) -> Path:
    """Return the program; the test is left out where it is not built."""
    try:
        return go_program(name)
    except RuntimeError as error:
        pytest.skip(str(error))


def _folder(name: str) -> Path:
    return CACHE / "go" / hashlib.sha256(MODULES[name].encode()).hexdigest()[:12]


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(module: str, name: str, folder: Path) -> None:
    if not shutil.which("go"):
        raise RuntimeError(f"{name} is built with Go, which is not installed")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        done = subprocess.run(
            ["go", "install", module], env={**os.environ, "GOBIN": made}, cwd=made, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"go install {module} failed: {done.stderr[-2000:]}")
        Path(made, name).rename(folder / name)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or MODULES:
        print(build(wanted), flush=True)
