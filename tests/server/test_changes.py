"""Changes while clients work: nobody is refused, no call fails, of MLflow's client or one never repeated."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioner.actions.up import UpOptions
from provisioner.actions.up import up as bring_up
from provisioner.output import Recorder
from provisioner.runtimes.docker import changes as docker_changes
from provisioner.runtimes.embedded import changes as embedded_changes
from tests.server.conftest import stack_of
from tests.server.deployed import Deployed
from tests.server.load import logging_metrics, moving_artifacts
from tests.support.checks import eventually, has_ended, running, service_not_restarted
from tests.support.installed import Answer
from tests.support.outage import Outage, raw_client
from tests.support.scheduling import RUNTIMES

# What a release changes that touches neither database nor interface:
# the server's code, and the proxy's settings.
RELEASE = {
    "_assets/deploy/provision_server/web/gunicorn_app.py": ('"timeout": 60', '"timeout": 61'),
    "runtimes/caddyfile.py": ("idle 2m", "idle 3m"),
}


@pytest.fixture(scope="module", params=RUNTIMES)
def made(request: pytest.FixtureRequest, installed: Path) -> Iterator[Deployed]:
    """A stack that these tests change."""
    yield from stack_of(request, installed)


@pytest.fixture
def changing(made: Deployed) -> Deployed:
    """The same, as it was at first, whatever another test has made of it."""
    up(made, "")
    return made


@contextmanager
def clients(deployed: Deployed, what: str, *, killed: bool = False) -> Iterator[Outage]:
    """Every kind of client at work meanwhile; none of MLflow's own sees a failure.

    `killed`: a download that had begun may be cut off, and is asked for once more.
    """
    files_moved = moving_artifacts(deployed, 1, killed=killed)
    with logging_metrics(deployed, 2) as load, files_moved as files, raw_client(deployed.uri) as seen:
        yield seen
        load.goes_on()
        files.goes_on(2)
    print(
        f"\n{deployed.runtime}, {what}: {seen}; "
        f"MLflow's client: longest {max(load.longest, files.longest):.1f} s"
    )


def settings(deployed: Deployed, text: str) -> None:
    port = deployed.uri.rpartition(":")[2]
    deployed.program.settings(f"server:\n  port: {port}\n{text}")


def up(deployed: Deployed, text: str, **variables: str) -> Answer:
    settings(deployed, text)
    return deployed.program.changed(variables=variables).up("--no-link")


def test_a_setting_of_the_server_fails_no_call_and_restarts_nothing_else(changing: Deployed) -> None:
    before = running(changing.program)["mlflow"]
    with service_not_restarted(changing.program, "postgres", "proxy"), clients(changing, "a setting") as seen:
        answer = up(changing, "  workers: 2\n")
    assert [
        subject for _, subject in answer.verbs if subject in {"postgres", "minio", "volumes", "proxy"}
    ] == []
    assert (seen.refused, seen.failed) == ([], [])
    if not changing.embedded:
        assert not before.is_running()


def test_a_release_fails_no_call(changing: Deployed, installed: Path, tmp_path: Path) -> None:
    package = next((installed / "lib").glob("python*/site-packages/provisioner"))
    shutil.copytree(package, tmp_path / "provisioner")
    for name, (old, new) in RELEASE.items():
        path = tmp_path / "provisioner" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    with service_not_restarted(changing.program, "postgres", "proxy"), clients(changing, "a release") as seen:
        answer = up(changing, "", PYTHONPATH=str(tmp_path))
    assert {("changed", "mlflow"), ("reloaded", "proxy")} <= set(answer.verbs)
    assert (seen.refused, seen.failed) == ([], [])
    again = up(changing, "", PYTHONPATH=str(tmp_path))
    assert [verb for verb, _ in again.verbs] == ["unchanged"]


@pytest.mark.only("docker")
def test_two_servers_that_an_interrupted_change_left_become_one(changing: Deployed) -> None:
    compose = ["docker", "compose", "up", "-d", "--no-deps", "--no-recreate", "--scale", "mlflow=2", "mlflow"]
    subprocess.run(
        compose, cwd=changing.program.stack, env=changing.program.env, check=True, capture_output=True
    )
    with (
        service_not_restarted(changing.program, "postgres", "proxy"),
        clients(changing, "an interrupted change") as seen,
    ):
        answer = up(changing, "")
    assert ("changed", "mlflow") in answer.verbs
    assert (seen.refused, seen.failed) == ([], [])
    listing = subprocess.run(
        ["docker", "compose", "ps", "-q", "mlflow"],
        cwd=changing.program.stack,
        capture_output=True,
        check=True,
    )
    assert len(listing.stdout.split()) == 1


def test_another_store_under_the_server_fails_no_call(changing: Deployed) -> None:
    with (
        service_not_restarted(changing.program, "proxy"),
        clients(changing, "a setting of PostgreSQL") as seen,
    ):
        answer = up(changing, "resources:\n  postgres:\n    memory: 900m\n")
    assert ("changed", "postgres") in answer.verbs
    assert (seen.refused, seen.failed) == ([], [])


def test_without_memory_for_two_servers_the_proxy_holds_the_calls(
    changing: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_changes, "available_mb", lambda _: 100)
    monkeypatch.setattr(embedded_changes, "available_here_mb", lambda: 100)
    for name, value in changing.program.env.items():
        monkeypatch.setenv(name, value)
    settings(changing, "  workers: 1\n")
    reporter = Recorder()
    with service_not_restarted(changing.program, "proxy"), clients(changing, "one server at a time") as seen:
        bring_up(UpOptions(stack=changing.program.stack, link=False), reporter)
    assert (seen.refused, seen.failed) == ([], [])
    assert "100 MB of memory are free, and another server beside it takes 400" in reporter.notes["waits"]


def test_a_killed_server_refuses_nobody(changing: Deployed) -> None:
    process = running(changing.program)["mlflow"]
    with clients(changing, "a killed server", killed=True) as seen:
        process.kill()
        eventually(lambda: has_ended(process), 10, "its end")
    # What it had under way is lost, and nobody but the client may repeat that.
    assert seen.refused == []
    assert len(seen.failed) <= 1
