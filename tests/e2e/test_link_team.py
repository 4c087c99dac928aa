"""Members of a team point their copies of a project at its server.

Their machines have the program and the project, and no stack.
"""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.installed import Answer, Program
from tests.support.kedro_env import new_shop
from tests.support.ports import free_port
from tests.support.tls_client import Client, own_address


@dataclass
class Server:
    """The team's server: TLS by an authority of its own, and a login."""

    program: Program
    port: int

    @property
    def uri(self) -> str:
        return f"https://{own_address()}:{self.port}"

    def runs_of(self, experiment: str) -> list[str]:
        """Ids of the experiment's runs, all of which ended well."""
        login = ("admin", self.program.secret("mlflow_admin_password"))
        client = Client(
            self.port, own_address(), own_address(), ca=self.program.stack / "ca.crt", login=login
        )
        found = client("GET", f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={experiment}").json()[
            "experiment"
        ]
        runs = (
            client("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [found["experiment_id"]]})
            .json()
            .get("runs", [])
        )
        assert {run["info"]["status"] for run in runs} <= {"FINISHED"}
        return [run["info"]["run_id"] for run in runs]

    def add(self, name: str) -> str:
        answer = self.program("user", "add", name, "--generate")
        assert answer.code == 0, self.program.report()
        return str(answer.data["password"])


@dataclass
class Member:
    """Somebody's machine: a home, the program, a copy of the project."""

    program: Program
    home: Path
    project: Path
    ca: Path

    def link(self, server: Server, *arguments: str, stdin: str = "") -> Answer:
        return self.program(
            "link", str(self.project), "--uri", server.uri, "--ca-file", str(self.ca), *arguments, stdin=stdin
        )

    def run(self, *argv: str, env: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """A program of the member's environment, in the project, after the lines of a shell."""
        line = f"{env}\nexec {' '.join(argv)}"
        own = {**self.program.env, **variables}
        return subprocess.run(
            ["sh", "-c", line],
            cwd=self.project,
            env=own,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def git(self, *arguments: str) -> str:
        named = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        return subprocess.run(
            ["git", *named, *arguments], cwd=self.project, check=True, capture_output=True, text=True
        ).stdout

    def files(self) -> dict[str, bytes]:
        folder = self.project / "conf"
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


@pytest.fixture(scope="module")
def server(installed: Path, stacks: Path) -> Iterator[Server]:
    program = Program(installed, stacks / "team" / "stack", "embedded")
    port = free_port()
    tls = f"  bind: 0.0.0.0\n  port: {port}\n  tls: internal\n  public_url: https://{own_address()}:{port}\n"
    with program.running(f"artifact_store:\n  kind: local\nserver:\n  auth: basic\n{tls}"):
        yield Server(program, port)


@pytest.fixture(scope="module")
def repository(installed: Path, stacks: Path) -> Path:
    """The team's project, as git has it."""
    return new_shop(stacks, Program(installed, stacks / "none", "embedded").env)


@pytest.fixture
def machines(server: Server, repository: Path, installed: Path, stacks: Path, tmp_path: Path) -> Any:
    """Makes a member's machine, with a clone of the project that it is given."""

    def make(name: str, project: Path = repository) -> Member:
        home = tmp_path / name
        home.mkdir()
        program = Program(installed, home / "no-stack", "embedded", {"HOME": str(home)})
        ca = home / "team-ca.crt"
        shutil.copy(server.program.stack / "ca.crt", ca)
        member = Member(program, home, home / "shop", ca)
        if project is repository:
            shutil.copytree(repository, member.project)
            member.git("init", "-q")
            member.git("add", ".")
            member.git("commit", "-qm", "first")
        else:
            subprocess.run(["git", "clone", "-q", str(project), str(member.project)], check=True)
        return member

    return make


def test_a_team_of_two_is_tracked_by_one_server_and_git_sees_no_login(server: Server, machines: Any) -> None:
    passwords = {name: server.add(name) for name in ("ana", "bob")}
    ana = machines("ana")
    linked = ana.link(server, "--user", "ana", "--password-stdin", stdin=passwords["ana"] + "\n")
    assert linked.code == 0, ana.program.report()
    assert linked.data["proof"]["state"] == "ok"
    assert linked.data["changed"] == ["conf/base/mlflow.yml", "conf/local/credentials.yml"]
    assert passwords["ana"] not in ana.program.report()
    assert "lets ana in" in linked.data["checks"][0]["seen"]
    assert stat.S_IMODE((ana.project / "conf/local/credentials.yml").stat().st_mode) == 0o600
    assert ana.git("status", "--porcelain", "--untracked-files=all") == "?? conf/base/mlflow.yml\n"
    done = ana.run("kedro", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(server.runs_of("shop")) == 1

    ana.git("add", ".")
    ana.git("commit", "-qm", "The team's tracking server")
    bob = machines("bob", ana.project)
    # The address is there, the certificate and the login are not.
    assert bob.run("kedro", "run", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0").returncode != 0
    linked = bob.link(server, "--user", "bob", "--password-stdin", stdin=passwords["bob"])
    assert linked.code == 0, bob.program.report()
    assert linked.data["changed"] == ["conf/local/credentials.yml"]
    assert bob.git("status", "--porcelain", "--untracked-files=all") == ""
    done = bob.run("kedro", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    # With the default permission bob may log to the experiment that ana made.
    assert len(server.runs_of("shop")) == 2
    before = bob.files()
    assert bob.link(server, "--user", "bob", "--password-stdin", stdin=passwords["bob"]).data["changed"] == []
    assert bob.files() == before
    unlinked = bob.program("unlink", str(bob.project))
    assert unlinked.code == 0
    assert bob.git("status", "--porcelain", "--ignored", "conf") == ""


def test_what_will_not_work_is_said_before_anything_is_written(server: Server, machines: Any) -> None:
    cleo = machines("cleo")
    server.add("cleo")
    before = cleo.files()
    wrong = cleo.link(server, "--user", "cleo", "--password-stdin", stdin="not the password\n")
    assert (wrong.code, wrong.error["what"]) == (4, "the server refuses the login cleo")
    nobody = cleo.link(server)
    assert nobody.code == 4
    assert "--user" in nobody.error["hint"]
    unasked = cleo.link(server, "--user", "cleo")
    assert unasked.code == 4
    assert "--password-stdin" in unasked.error["hint"]
    stranger = cleo.program("link", str(cleo.project), "--uri", server.uri)
    assert stranger.code == 6
    assert "--ca-file" in stranger.error["hint"]
    away = cleo.program("link", str(cleo.project), "--uri", f"http://127.0.0.1:{free_port()}")
    assert away.code == 6
    assert "--no-check" in away.error["hint"]
    assert cleo.files() == before
    (cleo.project / ".gitignore").write_text("")
    seen = cleo.link(server, "--user", "cleo", "--password-stdin", "--no-check", stdin="whatever it is\n")
    assert seen.code == 9
    assert "git does not ignore the file" in seen.error["why"]
    assert cleo.files() == before


def test_an_experiment_that_the_login_may_not_log_into_is_said(server: Server, machines: Any) -> None:
    password, gil = server.add("gil"), machines("gil")
    link = (server, "--user", "gil", "--password-stdin")
    assert gil.link(*link, stdin=password).code == 0, gil.program.report()
    assert gil.run("kedro", "run").returncode == 0
    assert (
        server.program("user", "grant", "gil", "--permission", "NO_PERMISSIONS", "--experiment", "shop").code
        == 0
    )
    for answer in (gil.link(*link, stdin=password), gil.program("doctor", str(gil.project))):
        assert (answer.code, answer.error["what"]) == (6, "a plain `kedro run` would not be tracked"), (
            gil.program.report()
        )
        assert "this login may not log into the experiment 'shop'" in answer.error["why"]
        assert "`provision user grant NAME --experiment 'shop' --permission EDIT`" in answer.error["hint"]
    assert gil.run("kedro", "run").returncode != 0
    assert server.program("user", "grant", "gil", "--permission", "EDIT", "--experiment", "shop").code == 0
    assert gil.link(*link, stdin=password).code == 0, gil.program.report()
    assert gil.run("kedro", "run").returncode == 0


def test_the_login_may_come_from_the_shell(server: Server, machines: Any) -> None:
    password, dora = server.add("dora"), machines("dora")
    linked = dora.link(server, "--user", "dora", "--password-stdin", "--login", "environment", stdin=password)
    assert linked.code == 0, dora.program.report()
    lines = "\n".join(linked.data["environment"])
    assert password not in dora.program.report()
    assert "PASSWORD" not in "".join(content.decode() for content in dora.files().values())
    done = dora.run("kedro", "run", env=lines, MLFLOW_TRACKING_PASSWORD=password)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_login_may_be_in_mlflows_own_file(server: Server, machines: Any) -> None:
    password, emil = server.add("emil"), machines("emil")
    before, theirs = emil.files(), "# mine\n[other]\nkey = value\n"
    (emil.home / ".mlflow").mkdir()
    path = emil.home / ".mlflow/credentials"
    path.write_text(theirs)
    linked = emil.link(server, "--user", "emil", "--password-stdin", "--login", "file", stdin=password)
    assert linked.code == 0, emil.program.report()
    assert theirs in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert emil.program("doctor", str(emil.project)).code == 0, emil.program.report()
    done = emil.run("kedro", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert emil.program("unlink", str(emil.project)).code == 0
    assert path.read_text() == theirs
    assert emil.files() == before


@pytest.mark.parametrize("environment", ["local", "prod"])
def test_a_machine_of_ci_needs_no_link_and_no_file_of_its_own(
    server: Server, machines: Any, environment: str
) -> None:
    password, robot = server.add(f"ci-{environment}"), machines(f"ci-{environment}")
    # Git keeps no empty folder; Kedro runs in no environment without one.
    shutil.rmtree(robot.project / "conf/local")
    (robot.project / "conf" / environment).mkdir()
    where = ("--uri", server.uri, "--user", f"ci-{environment}", "--ca-file", str(robot.ca))
    assert robot.program("env", *where).data["username"] == f"ci-{environment}"
    done = robot.run(
        "kedro",
        "run",
        "--env",
        environment,
        env=robot.program.text("env", *where).stdout,
        MLFLOW_TRACKING_PASSWORD=password,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(server.runs_of("shop")) >= 1
    assert not [
        name
        for name in robot.files()
        if name.startswith((f"{environment}/mlflow", f"{environment}/credentials"))
    ]


def test_kedro_has_the_commands_in_a_project_where_the_program_is_installed(
    server: Server, machines: Any
) -> None:
    password, fran = server.add("fran"), machines("fran")
    assert "provision" in fran.run("kedro", "--help").stdout
    line = f"kedro provision link --uri {server.uri} --user fran --password-stdin --ca-file {fran.ca}"
    linked = fran.run("sh", "-c", f"'printf %s \"$SECRET\" | {line}'", SECRET=password)
    assert linked.returncode == 0, linked.stdout + linked.stderr
    assert "lets fran in" in linked.stderr
    assert password not in linked.stdout + linked.stderr
    doctor = fran.run("kedro", "provision", "doctor", "--output", "json")
    assert doctor.returncode == 0, doctor.stdout
    # Kedro's own log goes to stdout too.
    document = json.loads(doctor.stdout[doctor.stdout.index('{\n  "version"') :])
    default = next(environment for environment in document["data"]["environments"] if environment["default"])
    assert (default["uri"], default["proved"], default["server"]["api"]) == (server.uri, True, True)
    # This machine has no stack, and `up` would make one.
    assert fran.run("kedro", "provision", "status").returncode == 6
    wanted = fran.run("kedro", "provision", "up", "--dry-run", "--runtime", "embedded", "--no-link")
    assert wanted.returncode == 0, wanted.stderr
    assert "nothing was changed" in wanted.stdout
    assert fran.run("kedro", "run").returncode == 0
