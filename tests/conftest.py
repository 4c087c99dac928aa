"""Options and fixtures of all tests."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.build import LOCK as BUILDING
from tests.images.build import missing_images
from tests.support.browser import Browser, open_browser
from tests.support.evidence import VARIABLE as FAILURES
from tests.support.evidence import keep_report, keep_stacks
from tests.support.go_programs import needed
from tests.support.locks import alone
from tests.support.reruns import Reruns, new_folder
from tests.support.s3_server import S3Server, start_minio
from tests.support.scheduling import RUNTIMES, in_order, processes, runtime_of, scheduler
from tests.support.summary import Summary

# Their assertions show values too.
pytest.register_assert_rewrite("tests.support.checks", "tests.campaign.actions", "tests.server.strangers")


def _seconds(text: str) -> int:
    seconds = int(text)
    if seconds <= 0:
        raise ValueError(text)
    return seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-runtime",
        action="append",
        default=[],
        choices=RUNTIMES,
        help="fail where a test of this runtime, or of none, would be skipped",
    )
    parser.addoption(
        "--rerun-failed", action="store_true", help="run failed tests once more by themselves, at the end"
    )
    parser.addoption(
        "--no-rerun-failed",
        action="store_false",
        dest="rerun_failed",
        help="do not, whatever was said before",
    )
    parser.addoption(
        "--failures",
        metavar="DIR",
        help="what failed tests leave goes there; a folder of this run's own in .failures",
    )
    parser.addoption(
        "--campaign",
        type=_seconds,
        metavar="SECONDS",
        help="run the long random part too, for so long on each runtime",
    )
    parser.addoption(
        "--seed",
        default=secrets.token_hex(4),
        help="what the campaign does, and in which order; without it, something new",
    )
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; read the diff")
    parser.addoption(
        "--update-screens", action="store_true", help="rewrite the docs' terminal sessions and picture"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores Ctrl-C, and so would every command that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Whoever ends the run ends its stacks.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "only(runtime): what is tested exists on that runtime alone")
    config.addinivalue_line("markers", "campaign: long and random; runs with --campaign")
    if hasattr(config, "workerinput"):
        return
    _refuse_missing(config)
    os.environ[FAILURES] = config.getoption("--failures") or str(new_folder(config.rootpath))
    config.pluginmanager.register(Summary())
    if config.option.rerun_failed:
        config.pluginmanager.register(Reruns(config))


def _refuse_missing(config: pytest.Config) -> None:
    """UsageError for a file that is not there; the processes of `-n` would say nothing."""
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        if not path.exists():
            raise pytest.UsageError(f"file or directory not found: {argument}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What one runtime alone has is no test of the other; the campaign runs when it is asked for."""
    elsewhere = [item for item in items if not _applies(item)]
    if not config.getoption("--campaign"):
        elsewhere += [item for item in items if item.get_closest_marker("campaign")]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]
    if hasattr(config, "workerinput"):
        items[:] = in_order(items)


def _applies(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("only")
    return marker is None or any(runtime in item.callspec.params.values() for runtime in marker.args)  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return processes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduler(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `--require-runtime` a skip is a failure, but for the other runtime's tests.

    What a failure leaves is kept.
    """
    report = yield
    required = item.config.getoption("--require-runtime")
    forbidden = report.skipped and required and runtime_of(item.nodeid) in {"", *required}
    if forbidden and isinstance(report.longrepr, tuple):
        report.outcome, report.longrepr = (
            "failed",
            f"skipped, which --require-runtime does not allow: {report.longrepr[2]}",
        )
    if report.failed:
        try:
            keep_report(report, getattr(item, "funcargs", {}).get("tmp_path"))
            if report.when != "teardown":
                keep_stacks()
        except Exception:
            # A full disk, for one; the failure itself is what counts.
            report.sections.append(("not all of it could be kept", traceback.format_exc()))
    return report


def docker_problem() -> str:
    """Why the Docker runtime cannot be tested here; "" when it can, once images being built are there."""
    for argv in (["docker", "version"], ["docker", "compose", "version"]):
        try:
            subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20)
        except subprocess.CalledProcessError as error:
            return f"the Docker runtime: {' '.join(argv)} says: {_last_line(error.stderr)}"
        except (OSError, subprocess.SubprocessError) as error:
            return f"the Docker runtime: {error}"
    with alone(BUILDING):
        missing = missing_images()
    return (
        (
            f"the Docker runtime: {', '.join(missing)} not built "
            "(python -m tests.images.build, as root on Debian)"
        )
        if missing
        else ""
    )


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


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
    from tests.support.installed import installed_environment

    return installed_environment()


def stacks_folder() -> Iterator[Path]:
    from tests.support.installed import DATA

    DATA.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder = Path(tempfile.mkdtemp(dir=DATA, prefix="t-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def stacks() -> Iterator[Path]:
    """A folder for stacks that every account can reach, as root's services run as another."""
    yield from stacks_folder()


@pytest.fixture(scope="session")
def all_stacks() -> Iterator[Path]:
    """A folder like `stacks`, for the whole session."""
    yield from stacks_folder()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """A MinIO of the test's own: an S3 that the user has."""
    needed("minio")
    yield from start_minio()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium with an empty cache, and nothing that a user chose before."""
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed")
    with open_browser() as browser:
        yield browser
