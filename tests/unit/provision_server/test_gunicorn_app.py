"""What the server sets for itself before it begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[3] / "deploy"


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"),
    [(256, 4096, 4096), (256, 20_000, 8192), (10_000, 20_000, 10_000), (300, 300, 300)],
)
def test_open_files_are_allowed_up_to_what_the_account_may(soft: int, hard: int, allowed: int) -> None:
    script = (
        f"import resource, sys; sys.path.insert(0, {str(SERVER)!r}); "
        "from provision_server.web import gunicorn_app\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "gunicorn_app.allow_files(); print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(allowed), str(hard)]


OWN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from provision_server.web import gunicorn_app
print(gunicorn_app.own_directory(Path(sys.argv[2])), flush=True)
sys.stdin.read()
"""


def test_a_servers_directory_is_its_own_and_is_removed_by_the_next_once_it_has_ended(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", OWN, str(SERVER), str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        own = Path(first.stdout.readline().strip())
        (own / "worker-1").mkdir()
        other = subprocess.run(argv, input="", capture_output=True, text=True, check=True).stdout.strip()
        # The second ran beside it, and took nothing away.
        assert (own / "worker-1").is_dir()
        assert Path(other) != own
        first.kill()
    (tmp_path / "somebody's").mkdir()
    last = subprocess.run(argv, input="", capture_output=True, text=True, check=True).stdout.strip()
    assert sorted(tmp_path.iterdir()) == sorted([Path(last), tmp_path / "somebody's"])
    assert Path(last).stat().st_mode & 0o777 == 0o700
