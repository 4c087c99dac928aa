"""A team's server from nothing, by an admin's machine, met by clients that verify.

The server is a container with a real SSH server and engine.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.support.installed import Program, stream_through_a_job
from tests.support.kedro_env import new_shop
from tests.support.teamserver import Team, program_of
from tests.support.terminal import check_screen
from tests.support.tls_client import Client

API = "/api/2.0/mlflow"
SEARCH = f"{API}/experiments/search"
QUERY = {"max_results": 1}


def test_one_command_makes_a_server_with_tls_and_login(team: Team) -> None:
    assert team.settings["ssh"] == team.server.destination
    address = team.server.address
    assert team.settings["server"] == {
        "auth": "basic",
        "bind": "0.0.0.0",
        "tls": "internal",
        "public_url": f"https://{address}",
    }
    client = team.client()
    assert client("POST", SEARCH, QUERY).status == 200
    client.login = None
    assert client("POST", SEARCH, QUERY).status == 401
    client.ca = None
    with pytest.raises(ssl.SSLCertVerificationError):
        client("GET", "/health")
    assert (
        Client(80, address, address=address, tls=False)("GET", "/x").headers["location"]
        == f"https://{address}/x"
    )


def test_the_screen_of_a_first_dry_run(team: Team, pytestconfig: pytest.Config) -> None:
    said = team.dry_run.replace(team.server.address, "192.0.2.10")
    # What follows is a line for each secret, file and service.
    check_screen("deploy", said.partition("  would make")[0], pytestconfig)


def test_a_second_deploy_and_up_restart_nothing(team: Team) -> None:
    before = team.server.containers()
    assert ("unchanged", "services") in team.deploy().verbs
    again = team.program("up", "--no-link")
    assert ("unchanged", "services") in again.verbs, again.document
    assert team.server.containers() == before


def test_a_dry_run_changes_nothing_here_or_there(team: Team) -> None:
    listing = f"find {team.server.stack()} -type f -printf '%p %T@\\n' | sort"
    before = team.server.sh(listing), (team.program.stack / "provision.yml").read_bytes()
    override = team.program.stack / "compose.override.yml"
    override.touch()
    answer = team.deploy("--dry-run", "--port", "8443")
    override.unlink()
    assert "compose.override.yml" in answer.warned, "it would have to be on the server"
    assert ("would change", "proxy") in answer.verbs
    assert ("would set", "server.public_url") in answer.verbs
    assert (team.server.sh(listing), (team.program.stack / "provision.yml").read_bytes()) == before


def test_secrets_are_on_the_server_alone_and_nobody_else_there_can_read_them(team: Team) -> None:
    here = sorted(path.name for path in team.program.stack.iterdir())
    assert here == ["ca.crt", "provision.yml"]
    there = team.server.stack()
    assert team.server.sh(f"stat -c '%a %U' {there} {there}/secrets").splitlines() == ["700 ana", "700 ana"]
    assert team.server.run("ls", there, user="stranger", check=False) == ""
    secrets = team.server.sh(f"cd {there}/secrets && for f in *; do cat $f; echo; done").split()
    assert len(secrets) > 5
    told = team.program.report() + team.server.sh(
        f"cat {there}/state.json {there}/audit.log {there}/docker-compose.yml"
    )
    assert not [secret for secret in secrets if secret in told]


def test_a_gigabyte_goes_through_a_job_on_the_server_and_none_of_it_stays_in_memory(team: Team) -> None:
    came = stream_through_a_job(team.program, 1024)
    print(f"over SSH: {came}")
    assert (came["blocks"], came["same"]) == (1024, True)
    assert came["grown_mb"] < 32
    assert team.server.sh("docker ps -aq --filter name=-job-") == ""


def test_the_admins_login_is_shown_when_asked(team: Team) -> None:
    shown = team.program("credentials")
    assert shown.code == 0, shown.document
    assert shown.data["password"] == team.client().login[1]  # type: ignore[index]


def test_every_command_acts_on_the_server(team: Team) -> None:
    status = team.program("status")
    assert status.code == 0, status.document
    assert {row["name"]: row["state"] for row in status.data["services"]}["mlflow"] == "running"
    assert (
        status.data["usage"]["artifact_free_bytes"] is None or status.data["usage"]["artifact_free_bytes"] > 0
    )
    logs = team.program("logs", "proxy", "--lines", "5")
    assert '"status"' in logs.data["logs"]["proxy"]
    doctor = team.program("doctor")
    assert doctor.code == 0, doctor.document
    assert {check["name"]: check["ok"] for check in doctor.data["checks"]} == {
        "stack": True,
        "certificate": True,
    }


def test_env_is_all_that_a_client_of_the_admins_machine_needs(team: Team) -> None:
    lines = team.program.text("env", "--stack", str(team.program.stack)).stdout
    assert team.client().login[1] not in lines  # type: ignore[index]
    script = f'{lines}\nprintf "%s:%s" "$MLFLOW_TRACKING_USERNAME" "$MLFLOW_TRACKING_PASSWORD"'
    done = subprocess.run(
        ["sh", "-c", script], env=team.program.env, capture_output=True, text=True, check=True
    )
    assert tuple(done.stdout.split(":")) == team.client().login
    assert f"https://{team.server.address}" in lines
    assert str(team.program.stack / "ca.crt") in lines


def test_each_change_has_an_audit_line(team: Team) -> None:
    lines = [json.loads(line) for line in team.server.get(f"{team.server.stack()}/audit.log").splitlines()]
    assert [(line["command"], line["outcome"], line["account"]) for line in lines[:1]] == [
        ("deploy", "completed", "ana")
    ]
    assert "@" in lines[0]["who"]
    assert lines[0]["from"]
    count = len(lines)
    team.deploy()
    assert len(team.server.get(f"{team.server.stack()}/audit.log").splitlines()) == count, "nothing changed"


def test_it_can_be_operated_there_with_plain_compose(team: Team) -> None:
    there = team.server.stack()
    running = team.server.run(
        "sh", "-c", f"cd {there} && docker compose ps --services --status running", user="ana"
    ).split()
    assert {"mlflow", "proxy", "postgres", "minio"} <= set(running)
    before = team.server.containers()
    team.server.run("sh", "-c", f"cd {there} && docker compose up -d", user="ana")
    after = team.server.containers()
    assert {name: after[name] for name in ("mlflow", "proxy", "postgres", "minio")} == {
        name: before[name] for name in ("mlflow", "proxy", "postgres", "minio")
    }


def test_another_admin_starts_from_an_empty_directory(team: Team, installed: Path, stacks: Path) -> None:
    other = program_of(installed, team.server, stacks / "other" / "stack")
    other.stack.mkdir(parents=True)
    before = team.server.containers()
    answer = other("deploy", team.server.destination)
    assert answer.code == 0, other.report()
    assert ("taken", "provision.yml") in answer.verbs
    assert team.server.containers() == before
    assert (other.stack / "provision.yml").read_bytes() == (team.program.stack / "provision.yml").read_bytes()


def test_a_stack_is_never_moved(team: Team, installed: Path, stacks: Path) -> None:
    refused = team.program("deploy", "somebody@elsewhere.example.com")
    assert refused.code == 7
    assert "its data is there" in refused.error["what"]
    local = program_of(installed, team.server, stacks / "local" / "stack")
    local.settings()
    (local.stack / "state.json").write_text(json.dumps({"format": 1, "runtime": "embedded"}))
    refused = local("deploy", team.server.destination)
    assert refused.code == 7
    assert "its data is here" in refused.error["what"]
    assert "ssh" not in (local.stack / "provision.yml").read_text()


def test_a_colleague_with_an_address_a_certificate_and_a_login_has_a_tracked_run(
    team: Team, installed: Path, stacks: Path
) -> None:
    password = team.program("user", "add", "ben", "--generate").data["password"]
    ben = Program(installed, stacks / "ben" / "nothing", "docker")
    ben.stack.mkdir(parents=True)
    (ben.stack.parent / "ca.crt").write_bytes((team.program.stack / "ca.crt").read_bytes())
    project = new_shop(ben.stack.parent, ben.env)
    uri, ca = f"https://{team.server.address}", str(ben.stack.parent / "ca.crt")
    linked = ben(
        "link",
        str(project),
        "--uri",
        uri,
        "--ca-file",
        ca,
        "--user",
        "ben",
        "--password-stdin",
        stdin=password,
    )
    assert linked.code == 0, ben.report()
    assert linked.data["proof"]["state"] == "ok"
    done = subprocess.run(
        ["kedro", "run"], cwd=project, env=ben.env, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    client = team.client(login=("ben", password))
    experiment = client("GET", f"{API}/experiments/get-by-name?experiment_name=shop").json()["experiment"][
        "experiment_id"
    ]
    runs = client("POST", f"{API}/runs/search", {"experiment_ids": [experiment]}).json()["runs"]
    assert [run["info"]["status"] for run in runs] == ["FINISHED"]
    last = json.loads(team.server.get(f"{team.server.stack()}/audit.log").splitlines()[-1])
    assert (last["command"], last["what"]) == ("user add", "ben")
    assert team.program("user", "remove", "ben").code == 0
    assert client("POST", SEARCH, QUERY).status == 401


def test_layers_that_are_missing_travel_over_the_same_connection(
    team: Team, installed: Path, stacks: Path, tmp_path: Path
) -> None:
    tag = "provision-test/caddy:shipped"
    (tmp_path / "small").write_bytes(os.urandom(1000))
    (tmp_path / "Dockerfile").write_text("FROM provision-test/caddy:2.11\nCOPY small /small\n")
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", tag, str(tmp_path)], check=True, capture_output=True
    )
    program = program_of(installed, team.server, stacks / "shipped" / "stack")
    program.settings("name: shipped\nartifact_store:\n  kind: local\n")
    settings = program.stack / "provision.yml"
    settings.write_text(settings.read_text().replace("provision-test/caddy:2.11", tag))
    try:
        refused = program("deploy", team.server.destination, "--port", "8443")
        assert (refused.code, refused.error["what"]) == (4, f"the image {tag} could not be fetched"), (
            "there is no registry"
        )
        again = (
            f"`provision deploy --ship-images --stack {program.stack} {team.server.destination} --port 8443`"
        )
        assert again in refused.error["hint"]
        said = program.text("deploy", "--ship-images", "--stack", str(program.stack))
        assert said.returncode == 0, said.stderr
        shipped = [
            line.split()[2] for line in said.stderr.splitlines() if line.split()[:2] == ["shipped", "image"]
        ]
        assert shipped == [tag]
        (size,) = re.findall(
            r"sending 1 image: ([0-9.]+ [kM]?B) of [0-9.]+ MB; the server has the other layers", said.stderr
        )
        assert size.endswith(" kB"), "of 1 kB and the archive's lists"
        assert f"% of {size} sent" in said.stderr
        inspect = ["docker", "image", "inspect", "--format", "{{.Id}}", tag]
        assert team.server.run(*inspect).strip() == subprocess.check_output(inspect, text=True).strip()
        assert ("unchanged", "images") in program("deploy", "--ship-images").verbs
    finally:
        program("erase", "--yes", "--host", team.server.destination)
        team.server.sh(f"docker image rm {tag}; rm -rf {team.server.stack('shipped')}", check=False)
        subprocess.run(["docker", "image", "rm", tag], check=True, capture_output=True)


def test_down_and_erase_want_the_hosts_name(team: Team) -> None:
    before = team.server.containers()
    for arguments in (
        ("down",),
        ("down", "--host", "elsewhere"),
        ("erase", "--yes"),
        ("erase", "--yes", "--host", "elsewhere"),
    ):
        refused = team.program(*arguments)
        assert refused.code == 10, refused.document
        assert team.server.address in refused.error["hint"]
    assert team.server.containers() == before
    assert team.program("down", stdin=f"{team.server.address}\n").code == 0
    assert team.server.containers() == {}
    assert team.program("status").code == 6
    assert team.program("up", "--no-link").code == 0
    assert team.client()("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=shop").status == 200
    erased = team.program("erase", "--yes", "--host", team.server.destination)
    assert erased.code == 0, erased.document
    assert team.server.containers() == {}
    assert team.server.sh("docker volume ls -q") == ""
    assert "secrets" not in team.server.sh(f"ls -A {team.server.stack()}").split()
    commands = [
        json.loads(line)["command"]
        for line in team.server.get(f"{team.server.stack()}/audit.log").splitlines()
    ]
    assert commands[-3:] == ["down", "up", "erase"]
    team.deploy()
    assert team.client()("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=shop").status == 404
