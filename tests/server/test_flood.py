"""A flood of wrong passwords: whoever sends it waits, and nobody else does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import RUNTIMES
from tests.installed import Program
from tests.s3_server import free_port
from tests.server.deployed import Deployed, Peer, Reply, eventually
from tests.tls_client import basic

FLOOD = Path(__file__).with_name("flood_script.py")
SEARCH = "/api/2.0/mlflow/experiments/search"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/0/nothing/here"
NAME = "mlflow.example.com"
CONNECTIONS, SECONDS, OTHERS = 32, 8.0, 8
# Without the limit it is a hundredth; a quiet machine keeps 0.6. What else a busy one does in the meantime moves the figure.
LEAST_KEPT = 0.3


@pytest.fixture(scope="module", params=RUNTIMES)
def door(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Deployed]:
    """A stack behind a proxy that says where its clients are: the test."""
    if request.param == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, stacks / f"flood-{request.param}" / "stack", request.param)
    port = free_port()
    proxies = "[127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]"
    tls = f"  tls: external\n  trusted_proxies: {proxies}\n  public_url: https://{NAME}\n"
    with program.running(f"artifact_store:\n  kind: local\nserver:\n  auth: basic\n  port: {port}\n{tls}"):
        yield Deployed(program, f"http://127.0.0.1:{port}")


def ask(door: Deployed, user: str, password: str, address: str, path: str = SEARCH) -> Reply:
    headers = {"Host": NAME, "Authorization": basic(user, password), "X-Forwarded-For": address}
    method, body = ("POST", {"max_results": 1}) if path == SEARCH else ("GET", None)
    return Peer(door.front.address)(method, path, body, headers)


def admin(door: Deployed, address: str = "198.51.100.1") -> Reply:
    return ask(door, "admin", door.program.secret("mlflow_admin_password"), address)


def rate(door: Deployed, seconds: float = SECONDS) -> float:
    """Calls of others that were answered in a second; one that is refused fails the test."""
    password, end = door.program.secret("mlflow_admin_password"), time.monotonic() + seconds

    def work(number: int) -> int:
        count = 0
        while time.monotonic() < end:
            assert ask(door, "admin", password, f"198.51.100.{number}").status == 200
            count += 1
        return count

    with ThreadPoolExecutor(OTHERS) as pool:
        return sum(pool.map(work, range(OTHERS))) / seconds


def flooded(door: Deployed, way: str, seconds: float) -> subprocess.Popen[str]:
    argv = [sys.executable, str(FLOOD), door.front.address, NAME, str(CONNECTIONS), str(seconds), way]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("way", ["one", "many", "names"])
def test_others_keep_their_rate(door: Deployed, way: str) -> None:
    rate(door, 2)
    calm, busy, seen = [], [], []
    for _ in range(2):
        calm.append(rate(door))
        flood = flooded(door, way, SECONDS + 2)
        time.sleep(1)
        busy.append(rate(door))
        seen.append(json.loads(flood.communicate(timeout=120)[0]))
    kept = sum(busy) / sum(calm)
    print(
        f"\n{door.runtime}, {CONNECTIONS} connections of wrong logins ({way}): others {calm[0]:.0f}, {calm[1]:.0f} calls/s before, "
        f"{busy[0]:.0f}, {busy[1]:.0f} meanwhile ({kept:.0%}); the flood was answered {seen}"
    )
    assert set().union(*seen) <= {"401", "429"}
    assert kept >= LEAST_KEPT


def test_who_fails_too_often_is_told_when_to_come_again(door: Deployed) -> None:
    answers = [ask(door, "admin", f"wrong {number}", "192.0.2.20") for number in range(15)]
    statuses = [answer.status for answer in answers]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
    assert ask(door, "admin", "wrong", "192.0.2.20", ARTIFACT).status == 429
    time.sleep(int(answers[-1].headers["retry-after"]) + 1)
    assert ask(door, "admin", "wrong", "192.0.2.20").status == 401


def test_a_colleague_behind_the_same_address_logs_in_all_the_same(door: Deployed) -> None:
    password = door.program("user", "add", "ana", "--generate").data["password"]
    for number in range(20):
        ask(door, "bob", f"wrong {number}", "192.0.2.30")
    assert ask(door, "bob", "wrong", "192.0.2.30").status == 429
    # Never seen before, and never wrong.
    assert ask(door, "ana", password, "192.0.2.30").status == 200
    for number in range(20):
        ask(door, "ana", f"wrong {number}", "192.0.2.30")
    assert ask(door, "ana", "wrong", "192.0.2.30").status == 429
    # Whoever knows the password is known by it, in every worker, also when it is remembered by none any more.
    assert {ask(door, "ana", password, "192.0.2.30", path).status for path in (SEARCH, ARTIFACT) for _ in range(10)} == {200, 404}
    time.sleep(31)
    assert {ask(door, "ana", password, "192.0.2.30", path).status for path in (SEARCH, ARTIFACT) for _ in range(10)} == {200, 404}
    # From elsewhere a first login is no trouble either.
    assert ask(door, "bob", "wrong", "192.0.2.31").status == 401


def test_what_is_open_asks_for_no_password_even_of_those_who_send_a_wrong_one(door: Deployed) -> None:
    headers = {"Host": NAME, "Authorization": basic("admin", "wrong"), "X-Forwarded-For": "192.0.2.40"}
    for _ in range(30):
        for path in ("/health", "/api/3.0/mlflow/server-info"):
            assert door.front("GET", path, headers=headers).status == 200
    assert ask(door, "admin", "wrong", "192.0.2.40").status == 401


def test_a_client_cannot_say_where_it_comes_from_by_itself(door: Deployed) -> None:
    for number in range(20):
        headers = {"Host": NAME, "Authorization": basic("admin", "wrong"), "X-Provision-Address": f"203.0.113.{number}"}
        status = door.front("POST", SEARCH, {"max_results": 1}, {**headers, "X-Forwarded-For": "192.0.2.50"}).status
    assert status == 429


def test_many_who_log_in_at_once_are_all_let_in(door: Deployed) -> None:
    door.restart()
    eventually(lambda: admin(door).status == 200, "the server is back")
    answers: list[int] = []

    def come() -> None:
        # As MLflow's client does after 429: it comes again.
        end = time.monotonic() + 20
        while (status := admin(door).status) == 429 and time.monotonic() < end:
            time.sleep(0.5)
        answers.append(status)

    started = time.monotonic()
    threads = [threading.Thread(target=come) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"\n{door.runtime}: 16 clients at once were let in within {time.monotonic() - started:.1f} s")
    assert answers == [200] * 16
