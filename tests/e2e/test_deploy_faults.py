"""What goes wrong with a team's server, while the old version goes on serving.

Two admins, lost connections, and what a server may lack.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.checks import eventually, meanwhile, refused
from tests.support.installed import Program
from tests.support.sshd import make_key
from tests.support.teamserver import Team, authorize, program_of

API = "/api/2.0/mlflow"
SEARCH = f"{API}/experiments/search"
NO_SERVER = "provision-test/python:3.13"


@dataclass
class Asking:
    """What a client saw that never stopped asking."""

    statuses: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Answers that were not 200, and when they came, in seconds from the beginning."""
    slowest: float = 0
    longest_gap: float = 0


@contextmanager
def asking(team: Team) -> Iterator[Asking]:
    """A client of the team asks on and on meanwhile."""
    seen, client = Asking(), team.client(timeout=60)

    def ask(done: threading.Event) -> None:
        begun = good = time.monotonic()
        while not done.is_set():
            started = time.monotonic()
            try:
                reply = client("GET", f"{API}/experiments/get-by-name?experiment_name=Default")
                seen.statuses.append(reply.status)
                if reply.status != 200:
                    seen.refused.append(
                        f"{time.monotonic() - begun:.1f} s: {reply.status} "
                        f"{reply.body[:200]!r} {dict(reply.headers)}"
                    )
            except OSError as error:
                seen.lost.append(repr(error))
                time.sleep(0.1)
            else:
                seen.slowest = max(seen.slowest, time.monotonic() - started)
                seen.longest_gap = max(seen.longest_gap, time.monotonic() - good)
                good = time.monotonic()

    with meanwhile(ask):
        yield seen


def change(team: Team, alter: Callable[[dict[str, object]], None]) -> None:
    """Other settings in provision.yml."""
    path = team.program.stack / "provision.yml"
    settings = yaml.safe_load(path.read_text())
    alter(settings)
    path.write_text(yaml.safe_dump(settings))


@pytest.fixture
def settings(team: Team) -> Iterator[Path]:
    """The settings are as they were afterwards; whatever happened, the next deploy puts it right."""
    path = team.program.stack / "provision.yml"
    kept = path.read_bytes()
    yield path
    path.write_bytes(kept)


def memory(team: Team, megabytes: int) -> None:
    change(team, lambda settings: settings.update(resources={"mlflow": {"memory": f"{megabytes}m"}}))


def fingerprints(team: Team) -> str:
    """The rendered files of the server's stack, and its state."""
    return team.server.sh(
        f"cd {team.server.stack()} && sha256sum docker-compose.yml .env state.json provision.yml"
    )


def test_a_server_that_does_not_get_healthy_is_taken_back_while_its_clients_wait(
    team: Team, settings: Path
) -> None:
    before = fingerprints(team)
    memory(team, 48)
    with asking(team) as seen:
        answer = team.program("deploy")
    assert answer.code == 6, answer.document
    assert "the version before serves" in answer.error["left_as"], answer.document
    # It was never ended.
    assert (set(seen.statuses), seen.lost) == ({200}, []), seen.refused
    assert fingerprints(team) == before
    logs = answer.error["left_as"].rpartition(":")[2]
    assert "mlflow.log" in team.server.sh(f"ls {logs}").split()
    last = json.loads(team.server.get(f"{team.server.stack()}/audit.log").splitlines()[-1])
    assert "went back" in last["outcome"]
    assert len(seen.statuses) > 20


def test_a_setting_of_the_server_is_changed_while_its_clients_work(team: Team, settings: Path) -> None:
    before = team.server.containers()
    change(team, lambda found: found["server"].update(workers=2))  # type: ignore[attr-defined]
    with asking(team) as seen:
        answer = team.program("deploy")
        assert answer.code == 0, answer.document
    print(f"\na setting over SSH: {len(seen.statuses)} answered, slowest {seen.slowest:.1f} s")
    assert (set(seen.statuses), seen.lost) == ({200}, [])
    after = team.server.containers()
    assert [name for name in ("postgres", "proxy") if after[name] != before[name]] == []
    assert after["mlflow"] != before["mlflow"]


def test_an_image_that_is_no_server_never_takes_the_place_of_one(team: Team, settings: Path) -> None:
    before = team.server.containers()
    change(team, lambda found: found["images"].update(server=NO_SERVER))  # type: ignore[attr-defined]
    answer = team.program("deploy")
    error = refused(answer, 4, "images.server is no image of this stack's server", NO_SERVER)
    assert error["left_as"]
    after = team.server.containers()
    assert [name for name in ("mlflow", "proxy", "postgres") if after[name] != before[name]] == []


def test_a_proxy_that_cannot_start_is_taken_back(team: Team, settings: Path) -> None:
    change(team, lambda found: found["images"].update(caddy=NO_SERVER))  # type: ignore[attr-defined]
    with asking(team) as seen:
        answer = team.program("deploy")
        assert answer.code in {5, 6}, answer.document
        assert "the version before serves again" in answer.error["left_as"], answer.document
        count = len(seen.statuses)
        eventually(lambda: len(seen.statuses) > count, 20, "it answers again")
    assert set(seen.statuses) == {200}
    assert seen.longest_gap < 90


def master(process: subprocess.Popen[str]) -> psutil.Process:
    """The SSH connection of a running command."""
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):
            if "-M" in child.cmdline():
                return child
    raise AssertionError("no connection")


@pytest.mark.parametrize("step", ["plan", "starting services", "waiting for the tracking server"])
def test_a_lost_connection_is_healed_by_the_next_deploy(team: Team, settings: Path, step: str) -> None:
    memory(team, 1500 + len(step))
    argv = [part for part in team.program.argv("deploy") if part not in {"--output", "json"}]
    process = subprocess.Popen(
        argv,
        env=team.program.env,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if step in line and not line.startswith("error"):
            master(process).kill()
            break
    said += process.stderr.read()
    assert process.wait(60) == 5, said
    assert "the connection to" in said
    assert "was lost" in said
    healed = team.deploy()
    assert all(check["ok"] for check in healed.data["checks"])
    assert team.client()("POST", SEARCH, {"max_results": 1}).status == 200


@contextmanager
def stopped_in_the_middle(team: Team) -> Iterator[subprocess.Popen[str]]:
    """A deploy of another admin that stands still with the lock, as when a laptop sleeps."""
    process = team.program.start("deploy")
    try:
        lock = f"{team.server.stack()}/.lock"
        eventually(lambda: team.server.sh(f"cat {lock}", check=False), 60, "it has the lock", pause=0.05)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        for one in family:
            one.suspend()
        yield process
    finally:
        for one in reversed(family):
            with contextlib.suppress(psutil.Error):
                one.resume()
                one.kill()
        process.wait(10)


def test_two_admins_at_once_are_told_of_each_other_and_a_stale_lock_can_be_broken(
    team: Team, settings: Path
) -> None:
    memory(team, 1700)
    with stopped_in_the_middle(team) as process:
        for command in (("deploy",), ("down", "--host", team.server.address)):
            error = refused(
                team.program(*command), 8, f"provision deploy, process {process.pid}, since", " by "
            )
            assert "--break-lock" in error["hint"]
        broken = team.deploy("--break-lock")
        assert ("broken", "lock") in broken.verbs
    assert team.client()("POST", SEARCH, {"max_results": 1}).status == 200


def test_a_host_key_that_changed_ends_everything_before_it_begins(team: Team, tmp_path: Path) -> None:
    known = team.server.client.known_hosts
    kept = known.read_text()
    team.server.client.know(team.server.address, 22, make_key(tmp_path / "key"))
    try:
        for command in ("deploy", "status", "down"):
            refused(team.program(command), 4, "another than before", "ssh-keygen")
    finally:
        known.write_text(kept)


@pytest.fixture
def stranger(team: Team, installed: Path, tmp_path: Path) -> Iterator[Program]:
    """An admin whose account may not use the server's engine, by a key that forwards nothing."""
    program = program_of(installed, team.server, tmp_path / "stack")
    program.settings()
    authorize(
        team.server, "stranger", "no-port-forwarding " + Path(f"{team.server.client.key}.pub").read_text()
    )
    yield program
    team.server.sh("rm -rf ~stranger/.ssh")


def test_everything_that_a_server_lacks_is_told_at_once_and_nothing_is_changed(
    team: Team, stranger: Program
) -> None:
    before = (stranger.stack / "provision.yml").read_bytes()
    answer = stranger(
        "deploy", f"stranger@{team.server.address}", "--domain", "mlflow.no-such-domain.example.com"
    )
    assert answer.code == 4, answer.document
    told = [error["what"] for error in answer.document["errors"]]
    assert told == [
        "this account may not use the Docker engine",
        "port 80 is already in use",
        "port 443 is already in use",
        "its SSH server lets no connection through",
        "the domain mlflow.no-such-domain.example.com leads nowhere",
    ]
    assert all(error["hint"] for error in answer.document["errors"])
    assert (stranger.stack / "provision.yml").read_bytes() == before
    assert team.server.sh("ls -A ~stranger").find("provision") == -1


@pytest.mark.parametrize(
    ("prepare", "restore", "said"),
    [
        (
            "mv /usr/bin/docker /usr/bin/docker.away",
            "mv /usr/bin/docker.away /usr/bin/docker",
            "Docker is not installed",
        ),
        ("mv {plugin} {plugin}.away", "mv {plugin}.away {plugin}", "Docker's Compose plugin is missing"),
        (
            "mv {plugin} {plugin}.away; printf '#!/bin/sh\\ncase $1 in docker-cli-plugin-metadata) "
            'echo "{{\\"SchemaVersion\\":\\"0.1.0\\",\\"Vendor\\":\\"x\\",\\"Version\\":\\"2.10.2\\"}}";; '
            "*) echo 2.10.2;; esac\\n' "
            ">{plugin}; chmod 755 {plugin}",
            "mv {plugin}.away {plugin}",
            "Docker Compose 2.10.2 is too old",
        ),
        (
            "mkdir -p {small} && mount -t tmpfs -o size=20m tmpfs {small} && chown ana {small}",
            "umount {small}; rmdir {small}",
            "the disk of the account's home directory has 20 MB free",
        ),
    ],
)
def test_what_is_missing_is_named(
    team: Team, installed: Path, tmp_path: Path, prepare: str, restore: str, said: str
) -> None:
    places = {"plugin": "/usr/libexec/docker/cli-plugins/docker-compose", "small": team.server.stack("small")}
    program = program_of(installed, team.server, tmp_path / "stack")
    program.settings("name: small\n")
    team.server.sh(prepare.format(**places))
    try:
        answer = program("deploy", team.server.destination, "--port", "8443")
        assert (answer.code, [error["what"] for error in answer.document["errors"]]) == (4, [said]), (
            answer.document
        )
        assert answer.error["hint"]
    finally:
        team.server.sh(restore.format(**places))


def test_a_disk_that_fills_up_in_the_middle_is_told_and_healed(
    team: Team, installed: Path, tmp_path: Path
) -> None:
    there = team.server.stack("small")
    program = program_of(installed, team.server, tmp_path / "stack")
    program.settings("name: small\nartifact_store:\n  kind: local\n")
    team.server.sh(
        f"mkdir -p {there} && mount -t tmpfs -o size=60m tmpfs {there} "
        f"&& chown ana {there} && chmod 700 {there}"
    )
    try:
        process = program.start("deploy", team.server.destination, "--port", "8443")
        eventually(lambda: team.server.sh(f"cat {there}/.lock", check=False), 60, "it has begun", pause=0.02)
        team.server.sh(f"dd if=/dev/zero of={there}/fill bs=1M count=100", check=False)
        answer = program.answer(process)
        refused(answer, 1, "cannot be written", "No space left on device")
        assert [name for name in team.server.containers() if name == "small"] == []
    finally:
        team.server.sh(f"umount {there}; rmdir {there}")


def test_an_interrupted_deploy_leaves_no_lock_and_no_connection(team: Team, settings: Path) -> None:
    memory(team, 1650)
    process = team.program.start("deploy")
    eventually(
        lambda: team.server.sh(f"cat {team.server.stack()}/.lock", check=False),
        60,
        "it has the lock",
        pause=0.05,
    )
    process.send_signal(signal.SIGINT)
    assert team.program.answer(process).code == 130
    assert ("unchanged", "services") not in team.deploy().verbs


def test_after_all_of_it_one_deploy_makes_the_server_as_it_was_and_the_next_does_nothing(team: Team) -> None:
    team.deploy()
    assert ("unchanged", "services") in team.deploy().verbs
    assert team.program("status").code == 0
