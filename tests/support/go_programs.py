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
# The quick ones first.
MODULES = {
    "pebble": f"{PEBBLE}/pebble@v2.10.3",
    "pebble-challtestsrv": f"{PEBBLE}/pebble-challtestsrv@v2.10.3",
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
}


def go_program(name: str) -> Path:
    """Return the program, once whoever builds programs now is done with it; RuntimeError where it is not built."""
    program = _path(name)
    if not program.exists():
        with _lock():
            pass
    if not program.exists():
        raise RuntimeError(f"{name} is not built (make programs)")
    return program


def build(*names: str) -> list[Path]:
    """Return the programs, built now unless they were before; minutes for MinIO. RuntimeError where there is no Go, or it fails."""
    with _lock():
        for name in names:
            if not _path(name).exists():
                _build(name)
    return [_path(name) for name in names]


def needed(name: str) -> Path:
    """Return the program; the test is left out where it is not built."""
    try:
        return go_program(name)
    except RuntimeError as error:
        pytest.skip(str(error))


def _path(name: str) -> Path:
    return CACHE / "go" / hashlib.sha256(MODULES[name].encode()).hexdigest()[:12] / name


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    (CACHE / "go").mkdir(parents=True, exist_ok=True)
    with open(CACHE / "go/.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str) -> None:
    if not shutil.which("go"):
        raise RuntimeError(f"{name} is built with Go, which is not installed")
    program, module = _path(name), MODULES[name]
    program.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as made:
        env = {**os.environ, "GOBIN": made}
        done = subprocess.run(["go", "install", module], env=env, cwd=made, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"go install {module} failed: {done.stderr[-2000:]}")
        Path(made, name).rename(program)


if __name__ == "__main__":
    for path in build(*(sys.argv[1:] or MODULES)):
        print(path)
