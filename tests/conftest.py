"""Options and fixtures of all tests."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.s3_server import S3Server, start_minio

RUNTIMES = ("docker", "embedded")
TEAM_FILES = ("/test_deploy.py", "/test_deploy_faults.py", "/test_team_page.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-runtime",
        action="append",
        default=[],
        choices=RUNTIMES,
        help="fail where a test of this runtime, or of none, would be skipped",
    )
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; read the diff")


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores Ctrl-C, and so would every command that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "only(runtime): what is tested exists on that runtime alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What one runtime alone has is no test of the other."""
    elsewhere = [item for item in items if not _applies(item)]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]


def _applies(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("only")
    return marker is None or any(runtime in item.callspec.params.values() for runtime in marker.args)  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `pytest -n`: tests that share something are run by one process."""
    from xdist.scheduler import LoadScopeScheduling

    class ByWhatTheyShare(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByWhatTheyShare(config, log)


def group(nodeid: str) -> str:
    """Tests of one group share a stack, the team's server, a user, or the default port."""
    file = nodeid.partition("::")[0]
    if "/faults/" in file or file.endswith("/test_main_job.py"):
        return "default port"
    if file.endswith(TEAM_FILES):
        return "team's server"
    runtime = _runtime(nodeid)
    return f"server {runtime}" if "/server/" in file else f"{file} {runtime}"


def _runtime(nodeid: str) -> str:
    """The runtime that the test has as a parameter, or ""."""
    parameters = nodeid.partition("[")[2]
    return next((runtime for runtime in RUNTIMES if runtime in parameters), "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With `--require-runtime` a skip is a failure, whatever was missing; only the other runtime's tests may."""
    report = yield
    required = item.config.getoption("--require-runtime")
    if report.skipped and required and _runtime(item.nodeid) in {"", *required}:
        report.outcome, report.longrepr = "failed", f"skipped, which --require-runtime does not allow: {report.longrepr[2]}"
    return report


def docker_problem() -> str:
    """Why the Docker runtime cannot be tested here; "" when it can."""
    try:
        subprocess.run(["docker", "version"], check=True, capture_output=True, timeout=20)
        subprocess.run(["docker", "compose", "version"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no Docker engine with Compose answers: {error}"
    images = subprocess.run(["docker", "image", "ls", "-q", "provision-test/postgres:18"], capture_output=True, check=True)
    return "" if images.stdout else "the images of tests/images/build.py are not built"


@pytest.fixture(scope="session")
def docker() -> None:
    """The test needs a Docker engine and the test images."""
    if problem := docker_problem():
        pytest.skip(problem)


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own stacks and links."""
    monkeypatch.setenv("PROVISION_STATE_DIR", str(tmp_path / "provision-state"))
    monkeypatch.delenv("PROVISION_STACK", raising=False)


@pytest.fixture(scope="session")
def installed() -> Path:
    """An environment with the built wheel."""
    from tests.installed import installed_environment

    return installed_environment()


@pytest.fixture(scope="module")
def stacks() -> Iterator[Path]:
    """A folder for stacks that every account can reach, as root's services run as another."""
    from tests.installed import DATA

    DATA.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder = Path(tempfile.mkdtemp(dir=DATA, prefix="t-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """A MinIO of the test's own: an S3 that the user has."""
    yield from start_minio()
