"""The tests' programs that come as Go modules: built once for each version, and kept.

`python -m tests.support.go_programs [NAME ...]` builds those that are missing, all without a name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
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
    """Return the program, built now unless it was before; minutes for MinIO.

    Raises RuntimeError where it is missing and there is no Go to build it with, or the build fails.
    """
    folder = CACHE / "go" / hashlib.sha256(MODULES[name].encode()).hexdigest()[:12]
    program = folder / name
    if program.exists():
        return program
    if not shutil.which("go"):
        raise RuntimeError(f"{name} is not built, and there is no Go to build it with")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(MODULES[name], name, folder)
    return program


def needed(name: str) -> Path:
    """Return the program; the test is left out where it cannot be had."""
    try:
        return go_program(name)
    except RuntimeError as error:
        pytest.skip(str(error))


def _build(module: str, name: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        done = subprocess.run(
            ["go", "install", module], env={**os.environ, "GOBIN": made}, cwd=made, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"go install {module} failed: {done.stderr[-2000:]}")
        Path(made, name).rename(folder / name)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or MODULES:
        print(go_program(wanted), flush=True)
