"""Users as a team's admin keeps them: what is changed about one counts at once, in every worker."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.server.deployed import Deployed, Peer, eventually
from tests.support.checks import meanwhile
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.scheduling import RUNTIMES
from tests.support.tls_client import basic

SEARCH = "/api/2.0/mlflow/experiments/search"
# One of Flask's routes and one of FastAPI's, which keep their logins apart.
CALLS = (
    ("POST", SEARCH, {"max_results": 1}),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/0/nothing/here", None),
)
# So many that each of three workers surely meets some.
MANY = 60


@pytest.fixture(scope="module", params=RUNTIMES)
def team(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Deployed]:
    """A stack with a login and several workers."""
    if request.param == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, stacks / f"users-{request.param}" / "stack", request.param)
    server = f"server:\n  auth: basic\n  workers: 3\n  port: {free_port()}\n"
    with program.running(f"artifact_store:\n  kind: local\n{server}") as answer:
        yield Deployed(program, answer.data["tracking_uri"])


def statuses(team: Deployed, user: str, password: str, count: int = MANY) -> set[int]:
    """What many calls with that login were answered; 404 is an answer to somebody who may ask."""
    front = Peer(urlsplit(team.uri).netloc)
    login = {"Authorization": basic(user, password)}
    return {
        front(method, path, body, login).status for _ in range(count // 2) for method, path, body in CALLS
    }


IN = {200, 404}
# 429: by then it failed too often.
OUT = {401, 429}


@contextmanager
def working(team: Deployed) -> Iterator[list[int]]:
    """Somebody else works all the while, and is never refused."""
    seen: list[int] = []
    password = team.program.secret("mlflow_admin_password")

    def work(end: threading.Event) -> None:
        while not end.is_set():
            seen.extend(statuses(team, "admin", password, 2))

    with meanwhile(work):
        yield seen


def test_a_user_is_added_listed_and_removed_at_once(team: Deployed) -> None:
    program, password = team.program, "correct horse battery"
    added = program("user", "add", "ana", "--password-stdin", stdin=password + "\n")
    assert added.code == 0, program.report()
    assert password not in program.report()
    assert statuses(team, "ana", password) == IN
    listed = program("user", "list")
    assert [(row["username"], row["admin"]) for row in listed.data["users"]] == [
        ("admin", True),
        ("ana", False),
    ]
    assert program("user", "add", "ana", "--generate").code == 4
    with working(team) as others:
        removed = program("user", "remove", "ana")
        started = time.monotonic()
        assert removed.code == 0, program.report()
        assert statuses(team, "ana", password, 20) <= OUT
    assert set(others) == IN
    print(
        f"\n{team.runtime}: refused {time.monotonic() - started:.1f} s after the removal, "
        f"{len(others)} calls of others answered"
    )
    assert program("user", "remove", "ana").code == 4


def test_a_changed_password_counts_at_once_and_the_old_one_no_more(team: Deployed) -> None:
    program = team.program
    first = program("user", "add", "bob", "--generate").data["password"]
    assert statuses(team, "bob", first) == IN
    second = program("user", "passwd", "bob", "--generate").data["password"]
    # Few enough that the right one is not limited for the wrong ones.
    assert statuses(team, "bob", first, 4) <= OUT
    assert statuses(team, "bob", second) == IN
    # As MLflow's own page does it: the user, through a worker of the server's choice.
    front, third = Peer(urlsplit(team.uri).netloc), "a third password"
    change = {"username": "bob", "password": third, "current_password": second}
    path = "/ajax-api/2.0/mlflow/users/update-password"
    assert front("PATCH", path, change, {"Authorization": basic("bob", second)}).status == 200
    assert statuses(team, "bob", second, 4) <= OUT
    assert statuses(team, "bob", third) == IN


def test_a_new_password_of_the_admin_is_kept_for_everything_that_needs_it(team: Deployed) -> None:
    program = team.program
    before, services = program.secret("mlflow_admin_password"), program.services()
    assert statuses(team, "admin", before) == IN
    changed = program("user", "passwd", "admin", "--generate")
    assert changed.code == 0, program.report()
    after = program.secret("mlflow_admin_password")
    assert after == changed.data["password"] != before
    assert statuses(team, "admin", before, 8) <= OUT
    assert statuses(team, "admin", after) == IN
    assert program("credentials").data["password"] == after
    again = program.up("--no-link")
    assert all(check["ok"] for check in again.data["checks"])
    assert ("unchanged", "services") in again.verbs
    assert program.services() == services
    assert program("status").code == 0
    assert not list((program.stack / "secrets").glob("*.new"))


def test_a_change_of_the_admins_password_that_was_cut_off_is_finished_by_the_next_command(
    team: Deployed,
) -> None:
    program, new = team.program, "set but not yet kept"
    old = program.secret("mlflow_admin_password")
    # What is on disk when the machine stops just after the server's answer.
    (program.stack / "secrets/mlflow_admin_password.new").write_text(new)
    change = {"username": "admin", "password": new, "current_password": old}
    path = "/api/2.0/mlflow/users/update-password"
    assert (
        Peer(urlsplit(team.uri).netloc)("PATCH", path, change, {"Authorization": basic("admin", old)}).status
        == 200
    )
    assert program("user", "list").code == 0, program.report()
    assert program.secret("mlflow_admin_password") == new
    assert program("status").code == 0


def test_an_admin_may_do_what_a_user_may_not(team: Deployed) -> None:
    program = team.program
    chief = program("user", "add", "chief", "--admin", "--generate").data["password"]
    plain = program("user", "add", "plain", "--generate").data["password"]
    front = Peer(urlsplit(team.uri).netloc)
    path = "/api/2.0/mlflow/users/get?username=admin"
    assert front("GET", path, headers={"Authorization": basic("chief", chief)}).status == 200
    assert front("GET", path, headers={"Authorization": basic("plain", plain)}).status == 403


def test_a_permission_is_granted_changed_and_taken_back(team: Deployed) -> None:
    program = team.program
    password = program("user", "add", "cleo", "--generate").data["password"]
    front = Peer(urlsplit(team.uri).netloc)
    admin = {"Authorization": basic("admin", program.secret("mlflow_admin_password"))}
    cleo = {"Authorization": basic("cleo", password)}
    made = front("POST", "/api/2.0/mlflow/experiments/create", {"name": "shop"}, admin).document[
        "experiment_id"
    ]
    assert front("POST", "/api/2.0/mlflow/registered-models/create", {"name": "prices"}, admin).status == 200
    get = f"/api/2.0/mlflow/experiments/get?experiment_id={made}"

    def may() -> tuple[bool, bool, bool]:
        tag = {"experiment_id": made, "key": "a", "value": "b"}
        calls = (("GET", get, None), ("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", tag))
        read, change = (front(method, path, body, cleo).status == 200 for method, path, body in calls)
        deleted = (
            front("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": made}, cleo).status == 200
        )
        if deleted:
            assert (
                front("POST", "/api/2.0/mlflow/experiments/restore", {"experiment_id": made}, admin).status
                == 200
            )
        return read, change, deleted

    def grant(permission: str, *on: str) -> str:
        answer = program("user", "grant", "cleo", "--permission", permission, *on)
        assert answer.code == 0, program.report()
        return str(answer.data["permission"])

    assert may() == (True, True, False)
    assert grant("MANAGE", "--experiment", "shop") == "MANAGE"
    assert may() == (True, True, True)
    assert grant("NO_PERMISSIONS", "--experiment", made) == "NO_PERMISSIONS"
    assert may() == (False, False, False)
    assert grant("DEFAULT", "--experiment", "shop") == "EDIT"
    assert may() == (True, True, False)
    assert grant("NO_PERMISSIONS", "--model", "prices") == "NO_PERMISSIONS"
    assert front("GET", "/api/2.0/mlflow/registered-models/get?name=prices", headers=cleo).status == 403
    rows = {row["username"]: row["granted"] for row in program("user", "list").data["users"]}
    assert rows["cleo"] == [
        {"resource_type": "registered_model", "resource": "prices", "permission": "NO_PERMISSIONS"}
    ]
    less = program("user", "grant", "cleo", "--permission", "READ", "--experiment", "shop")
    assert less.code == 4
    assert "default_permission" in less.error["where"]


def test_a_grant_on_a_prompt_would_count_for_nothing_and_is_refused(team: Deployed) -> None:
    program = team.program
    front, admin = (
        Peer(urlsplit(team.uri).netloc),
        {"Authorization": basic("admin", program.secret("mlflow_admin_password"))},
    )
    prompt = {"name": "greeting", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}
    assert front("POST", "/api/2.0/mlflow/registered-models/create", prompt, admin).status == 200
    assert program("user", "add", "fay", "--generate").code == 0
    answer = program("user", "grant", "fay", "--permission", "NO_PERMISSIONS", "--model", "greeting")
    assert answer.code == 4
    assert "is a prompt" in answer.error["what"]


@pytest.mark.parametrize("password", ["short", "no-ascii-ä-in-here", ""])
def test_a_password_that_mlflow_would_stumble_over_is_refused(team: Deployed, password: str) -> None:
    answer = team.program("user", "add", "dora", "--password-stdin", stdin=password + "\n")
    assert answer.code == 4
    assert "dora" not in {row["username"] for row in team.program("user", "list").data["users"]}


def test_no_password_is_shown_by_anything_but_credentials_and_what_made_it(team: Deployed) -> None:
    program, password = team.program, team.program.secret("mlflow_admin_password")
    for command in (("status",), ("env",), ("logs",), ("doctor",), ("user", "list"), ("up", "--no-link")):
        said = program.text(*command, "--stack", str(program.stack))
        assert password not in said.stdout + said.stderr, command
    said = program.text("credentials", "--stack", str(program.stack))
    assert password in said.stdout
    assert password not in said.stderr


def test_while_the_database_is_away_a_login_is_neither_right_nor_wrong(team: Deployed) -> None:
    program = team.program
    password = program("user", "add", "emma", "--generate").data["password"]

    def postgres(verb: str) -> None:
        if team.embedded:
            argv = [
                f"{team.memory['environment']}/bin/supervisorctl",
                "-s",
                f"unix://{team.run}/supervisor.sock",
                verb,
                "postgres:*",
            ]
        else:
            argv = ["docker", verb, program.container("postgres")]
        subprocess.run(argv, check=True, capture_output=True, timeout=120)

    postgres("stop")
    try:
        assert statuses(team, "emma", password, 6) == {503}
        assert statuses(team, "emma", "not the password", 2) == {503}
    finally:
        postgres("start")
    eventually(lambda: statuses(team, "emma", password, 2) == IN, "the database is back")
    assert statuses(team, "emma", "not the password", 2) <= OUT
