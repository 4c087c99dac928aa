"""Who may do what: strangers, users with each permission there is, and admins, by route and by operation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.server.deployed import Deployed, Reply
from tests.server.operations import NEEDED, RANK, operations
from tests.server.reach import (
    API2,
    ARTIFACTS,
    GIVEN,
    HIDDEN,
    MODEL,
    Caller,
    Things,
    as_call,
    family,
    make_endpoint,
    make_things,
    picture,
)
from tests.server.strangers import OPEN, script
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.scheduling import RUNTIMES
from tests.support.tls_client import basic

# From nobody to everything. `outsider` has a login and no permission;
# the next three have what is granted to them.
OUTSIDE, GRANTED = ("stranger", "wrong", "removed"), {"reader": "READ", "editor": "EDIT", "owner": "MANAGE"}
ROLES = (*OUTSIDE, "outsider", *GRANTED, "admin")
# What a login alone opens; none of it has anything of another user, but names.
FOR_EVERY_USER = {
    "/": "MLflow's page, which then asks for its data",
    "/version": "MLflow's version",
    "/graphql": "only what the user may read of it is answered",
    "experiments/search": "what the user may read",
    "experiments/create": "everybody may make experiments, and manages them",
    "runs/search": "what the user may read",
    "registered-models/search": "what the user may read",
    "registered-models/create": "everybody may register models, and manages them",
    "model-versions/search": "what the user may read",
    "logged-models/search": "what the user may read",
    "mcp-servers": "what the user may read",
    "mcp-servers/endpoints": "what the user may read",
    "jobs/search": "the user's own jobs",
    "users/current": "who the user is",
    "users/current/permissions": "what was granted to the user",
    "users/list": "the names of all users: MLflow's page offers them as reviewers",
    "assistant/config": "whether MLflow's assistant may be used: it is off",
    "assistant/providers": "what the assistant could talk to",
    "gateway-proxy": "an empty list: no gateway is set",
    "ui-telemetry": "that there is none",
    # With `server.genai`.
    "gateway/supported-providers": "whom the gateway can talk to",
    "gateway/secrets/config": "whether keys of providers can be kept",
    "gateway/secrets/list": "what the user may read",
    "gateway/endpoints/list": "what the user may read",
    "gateway/model-definitions/list": "what the user may read",
    "v1/models": "the endpoints that the user may use",
    "gateway/budgets/list": "the server's limits of spending, which MLflow hides from nobody",
    "gateway/budgets/windows": "the same",
}
# It asks the internet, for minutes where there is none.
ASKS_THE_INTERNET = "gateway/supported-models"


@dataclass
class Team:
    """A stack whose users may do nothing that was not granted, and what its admin made."""

    deployed: Deployed
    callers: dict[str, Caller]
    things: Things

    @property
    def admin(self) -> Caller:
        return self.callers["admin"]

    def routes(self) -> list[tuple[str, str]]:
        """Every pair of method and path, with the admin's things in the paths."""
        program = self.deployed.program
        if program.runtime == "docker":
            argv = ["docker", "exec", "-i", program.container("mlflow"), "/opt/venv/bin/python"]
        else:
            argv = [f"{self.deployed.memory['environment']}/bin/python"]
        argv += ["-W", "ignore", "-", json.dumps(self.things.in_paths())]
        done = subprocess.run(
            argv, input=script("list_routes.py"), capture_output=True, check=True, cwd="/", timeout=120
        )
        return [
            (method, path) for method, path in json.loads(done.stdout) if not path.endswith(ASKS_THE_INTERNET)
        ]


@pytest.fixture(scope="module", params=RUNTIMES)
def team(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Team]:
    if request.param == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, stacks / f"reach-{request.param}" / "stack", request.param)
    # With jobs and the gateway more routes have something behind them; without, on Docker, they are closed.
    genai = str(request.param == "embedded").lower()
    server = (
        f"server:\n  auth: basic\n  default_permission: NO_PERMISSIONS\n  genai: {genai}\n"
        f"  port: {free_port()}\n"
    )
    with program.running(server) as answer:
        yield _made(Deployed(program, answer.data["tracking_uri"]))


def _made(deployed: Deployed) -> Team:
    program = deployed.program
    logins = {
        "stranger": None,
        "wrong": ("admin", "not the password"),
        "admin": ("admin", program.secret("mlflow_admin_password")),
    }
    for name in ("removed", "outsider", *GRANTED):
        logins[name] = (name, program("user", "add", name, "--generate").data["password"])
    callers = {name: Caller(name, deployed.front, logins[name]) for name in ROLES}
    things = make_things(callers["admin"])
    if deployed.embedded:
        make_endpoint(callers["admin"])
    for name, permission in GRANTED.items():
        for on in (("--experiment", things.experiment), ("--model", MODEL)):
            assert program("user", "grant", name, "--permission", permission, *on).code == 0, program.report()
    for name in ("removed", "outsider", *GRANTED):
        # A login that was right once is known from then on; of others few are judged at a time.
        assert callers[name]("POST", f"{API2}/experiments/search", {"max_results": 1}).status == 200
    assert program("user", "remove", "removed").code == 0
    return Team(deployed, callers, things)


def call_all(caller: Caller, things: Things, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], Reply]:
    arguments = things.arguments()

    def ask(pair: tuple[str, str]) -> Reply:
        return caller(*as_call(*pair, arguments))

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(pairs, pool.map(ask, pairs), strict=True))


def counts(answers: dict[tuple[str, str], Reply]) -> dict[str, str]:
    """By family: routes that answered, refused, and said something else (no such thing, off, faulty call)."""
    found: dict[str, Counter[str]] = {}
    for (_, path), answer in answers.items():
        kind = "yes" if answer.status < 400 else "no" if answer.status in {401, 403, 429} else "else"
        found.setdefault(family(path), Counter())[kind] += 1
    return {name: f"{seen['yes']}/{seen['no']}/{seen['else']}" for name, seen in found.items()}


def test_no_route_gives_or_takes_what_a_user_has_no_permission_for(team: Team) -> None:
    routes = team.routes()
    assert len(routes) >= 500
    before, table = picture(team.admin, team.things), {}
    assert HIDDEN.encode() in team.admin("GET", f"{ARTIFACTS}/{team.things.artifact}").body
    for name in (*OUTSIDE, "outsider", "reader"):
        answers = call_all(team.callers[name], team.things, routes)
        table[name] = counts(answers)
        assert picture(team.admin, team.things) == before, f"{name} changed something"
        answered = {pair for pair, answer in answers.items() if answer.status < 400}
        if name in OUTSIDE:
            assert {path for _, path in answered} <= {path for _, path in OPEN}, name
        if name == "outsider":
            closed = {
                (method, path)
                for method, path in answered
                if (method, path) not in OPEN and not _for_every_user(path)
            }
            assert closed == set()
        if name != "reader":
            assert [pair for pair, answer in answers.items() if HIDDEN.encode() in answer.body] == [], name
    reads = [pair for pair in routes if pair[0] == "GET"]
    for name in ("outsider", *GRANTED, "admin"):
        table[f"{name}, GET"] = counts(call_all(team.callers[name], team.things, reads))
    _print(team.deployed.runtime, len(routes), len(reads), table)


def _for_every_user(path: str) -> bool:
    short = path.partition("/mlflow/")[2] or path.partition("/3.0/")[2] or path
    return short in FOR_EVERY_USER


def _print(runtime: str, routes: int, reads: int, table: dict[str, dict[str, str]]) -> None:
    names = sorted({family for row in table.values() for family in row})
    sys.stdout.write(
        f"\n{runtime}: {routes} routes, {reads} of them GET; answered/refused/else\n"
        f"| | {' | '.join(table)} |\n"
    )
    for name in names:
        sys.stdout.write(f"| {name} | {' | '.join(row.get(name, '-') for row in table.values())} |\n")


def test_each_permission_allows_what_it_says_and_no_more(team: Team) -> None:
    wrong, shown = [], []
    labels = list(operations(team.things, "x"))
    rows: dict[str, list[str]] = {label: [] for label in labels}
    for role in ROLES:
        for label, (needed, call) in operations(team.things, role).items():
            answer = team.callers[role](*call)  # type: ignore[arg-type]
            refused = (
                answer.status in {401, 403, 429} if needed != "READ" else HIDDEN.encode() not in answer.body
            )
            rows[label].append("no" if refused else "yes")
            if refused == (RANK[role] >= NEEDED[needed]):
                wrong.append((label, role, answer.status, answer.body[:120]))
            _mend(team, label)
        shown.append(role)
    sys.stdout.write(f"\n{team.deployed.runtime}\n| | {' | '.join(shown)} |\n")
    for label in labels:
        sys.stdout.write(f"| {label} | {' | '.join(rows[label])} |\n")
    assert wrong == []


def _mend(team: Team, label: str) -> None:
    """What an owner or admin may delete is there again for the next."""
    if label == "delete the run":
        team.admin.good("POST", f"{API2}/runs/restore", {"run_id": team.things.run})
    if label == "delete the experiment":
        team.admin("POST", f"{API2}/experiments/restore", {"experiment_id": team.things.experiment})


TRICKS = [
    "../{e}/{r}/artifacts/given.txt",
    "./{e}/{r}/artifacts/given.txt",
    "{e}//{r}/artifacts/given.txt",
    "%2e%2e/{e}/{r}/artifacts/given.txt",
    "x/../{e}/{r}/artifacts/given.txt",
    "x/%2e%2e/{e}/{r}/artifacts/given.txt",
    "{e}/{r}/artifacts/given.txt%20",
    "%2f{e}/{r}/artifacts/given.txt",
    "{e}%2f{r}%2fartifacts%2fgiven.txt",
    "{e}/x/../{r}/artifacts/given.txt",
    "0{e}/{r}/artifacts/given.txt",
    "{own}/../{e}/{r}/artifacts/given.txt",
    "{own}/%2e%2e/{e}/{r}/artifacts/given.txt",
    "{own}%2f..%2f{e}/{r}/artifacts/given.txt",
    "{own}/x/..%2f..%2f{e}/{r}/artifacts/given.txt",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_no_way_of_writing_a_path_leads_from_an_own_experiment_to_anothers_artifact(
    team: Team, trick: str
) -> None:
    outsider, things = team.callers["outsider"], team.things
    own = outsider.good("POST", f"{API2}/experiments/create", {"name": f"own {trick}"})["experiment_id"]
    path = trick.format(e=things.experiment, r=things.run, own=own)
    for prefix in (ARTIFACTS, ARTIFACTS.replace("/api", "/ajax-api", 1)):
        for method in ("GET", "PUT", "DELETE"):
            answer = outsider(method, f"{prefix}/{path}", b"overwritten" if method == "PUT" else None)
            assert HIDDEN.encode() not in answer.body, (method, prefix)
        listed = outsider("GET", f"{prefix}?path={path.rpartition('/')[0]}")
        assert HIDDEN.encode() not in listed.body, prefix
    assert team.admin("GET", f"{ARTIFACTS}/{things.artifact}").body == HIDDEN.encode()


def test_the_root_of_the_artifact_store_shows_a_user_only_what_is_the_users(team: Team) -> None:
    own = team.callers["outsider"].good("POST", f"{API2}/experiments/create", {"name": "own root"})[
        "experiment_id"
    ]
    team.callers["outsider"]("PUT", f"{ARTIFACTS}/{own}/x.txt", b"x")
    for path in ("", "?path=", "?path=.", "?path=/"):
        answer = team.callers["outsider"]("GET", f"{ARTIFACTS}{path}")
        names = {file["path"] for file in answer.document.get("files", [])} if answer.status == 200 else set()
        assert team.things.experiment not in names, path


def test_a_user_cannot_point_a_model_at_anothers_artifacts(team: Team) -> None:
    outsider, things = team.callers["outsider"], team.things
    outsider("POST", f"{API2}/registered-models/create", {"name": "trojan"})
    for source in (
        f"mlflow-artifacts:/{things.experiment}/{things.run}/artifacts",
        f"runs:/{things.run}",
        f"models:/{MODEL}/1",
        "/",
        "file:///etc",
    ):
        made = outsider(
            "POST",
            f"{API2}/model-versions/create",
            {"name": "trojan", "source": source, "run_id": things.run},
        )
        assert made.status in {400, 403, 404}, (source, made.status)
    answer = outsider(
        "POST",
        f"{API2}/experiments/create",
        {"name": "trojan", "artifact_location": f"mlflow-artifacts:/{things.experiment}"},
    )
    if answer.status == 200:
        # Its runs' artifacts would be in the folder of the other experiment.
        run = outsider.good(
            "POST",
            f"{API2}/runs/create",
            {"experiment_id": answer.document["experiment_id"], "start_time": 1},
        )["run"]["info"]
        for call in (
            f"/get-artifact?run_uuid={run['run_id']}&path=../../{things.run}/artifacts/{GIVEN}",
            f"{API2}/artifacts/list?run_id={run['run_id']}&path=..",
        ):
            assert HIDDEN.encode() not in outsider("GET", call).body


def test_nobody_makes_the_server_work_for_minutes_on_demo_data(team: Team) -> None:
    for path in (
        "demo/generate",
        "demo/delete",
        "./demo/generate",
        "x/../demo/generate",
        "%64emo/generate",
        "demo//generate",
        "/demo/generate",
    ):
        for name in ("outsider", "admin"):
            answer = team.callers[name].front(
                "POST",
                f"/ajax-api/3.0/mlflow/{path}",
                {},
                {"Authorization": basic(*(team.callers[name].login or ("", "")))},
                timeout=10,
            )
            assert answer.status in {308, 403, 404}, (path, name, answer.status)
