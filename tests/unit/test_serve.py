"""What the server sets for itself before it begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "deploy/server"


@pytest.mark.parametrize(("soft", "hard", "allowed"), [(256, 4096, 4096), (256, 20_000, 8192), (10_000, 20_000, 10_000), (300, 300, 300)])
def test_open_files_are_allowed_up_to_what_the_account_may(soft: int, hard: int, allowed: int) -> None:
    script = (
        f"import resource, sys; sys.path.insert(0, {str(SERVER)!r}); import serve\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "serve.allow_files(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(allowed), str(hard)]
