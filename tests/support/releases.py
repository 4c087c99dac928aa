"""Another release of the program: the wheel of this tree, with an older MLflow locked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from uv import find_uv_bin

from tests.support.installed import CACHE, ROOT, tree_digest
from tests.support.locks import alone

OLDER_MLFLOW = "3.16.1"
_NOT_IN_IT = (".git", ".venv", ".*_cache", ".failures", "__pycache__", "demo-project", "dist", "tests")


def older_release() -> Path:
    """A virtual environment with that wheel, made anew when this tree changed."""
    directory = CACHE / f"older-{OLDER_MLFLOW}"
    environment, made_from = directory / "environment", directory / ".tree"
    with alone(CACHE / "older.lock"):
        tree = tree_digest()
        if made_from.exists() and made_from.read_text() == tree:
            return environment
        shutil.rmtree(directory, ignore_errors=True)
        source = directory / "source"
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*_NOT_IN_IT))
        uv = find_uv_bin()
        # As `make lock` calls it.
        variables = {**os.environ, "MLFLOW": OLDER_MLFLOW, "UV": uv}
        subprocess.run(["sh", str(source / "deploy/lock.sh")], check=True, env=variables)
        subprocess.run([uv, "venv", "--quiet", str(environment)], check=True)
        python = str(environment / "bin/python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, str(source)], check=True)
        made_from.write_text(tree)
    return environment
