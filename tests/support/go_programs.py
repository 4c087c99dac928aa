"""The tests' programs that come as Go modules: built once for each version, and kept.

`python -m tests.support.go_programs [NAME ...]` builds those that are missing, all without a name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.installed import CACHE
from tests.support.locks import alone

PEBBLE = "github.com/letsencrypt/pebble/v2/cmd"
LOCK = CACHE / "go/.lock"
# The quick ones first.
MODULES = {
    "pebble": f"{PEBBLE}/pebble@v2.10.3",
    "pebble-challtestsrv": f"{PEBBLE}/pebble-challtestsrv@v2.10.3",
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
}


def go_program(name: str) -> Path:
    """Return the program, once whoever builds programs now is done; RuntimeError where it is not built."""
    program = _path(name)
    if not _is_whole(program):
        with alone(LOCK):
            pass
    if not _is_whole(program):
        raise RuntimeError(f"{name} is not built (make programs)")
    return program


def build(*names: str) -> list[Path]:
    """Return the programs, built now unless they were before; minutes for MinIO.

    RuntimeError where there is no Go, or it fails.
    """
    with alone(LOCK):
        for name in names:
            if not _is_whole(_path(name)):
                _build(name)
    return [_path(name) for name in names]


def needed(*names: str) -> None:
    """Leave the test out where one of the programs is not built."""
    try:
        for name in names:
            go_program(name)
    except RuntimeError as error:
        pytest.skip(str(error))


def _path(name: str) -> Path:
    return CACHE / "go" / hashlib.sha256(MODULES[name].encode()).hexdigest()[:12] / name


def _is_whole(program: Path) -> bool:
    return program.is_file() and program.stat().st_size > 0 and os.access(program, os.X_OK)


def _build(name: str) -> None:
    if not shutil.which("go"):
        raise RuntimeError(f"{name} is built with Go, which is not installed")
    program, module = _path(name), MODULES[name]
    # With what a build that was killed has left.
    shutil.rmtree(program.parent, ignore_errors=True)
    program.parent.mkdir()
    with tempfile.TemporaryDirectory(dir=program.parent) as made:
        env = {**os.environ, "GOBIN": made}
        done = subprocess.run(
            ["go", "install", module], env=env, cwd=made, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"go install {module} failed: {done.stderr[-2000:]}")
        Path(made, name).rename(program)


if __name__ == "__main__":
    for path in build(*(sys.argv[1:] or MODULES)):
        print(path)
