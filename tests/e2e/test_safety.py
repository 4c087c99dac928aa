"""No secret where it does not belong, nothing listens but the proxy, nothing more is allowed than needed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import psycopg2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.browser import Browser
from tests.support.checks import eventually, may_do_little
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.tls_client import basic


@pytest.fixture(scope="module", params=["docker", "embedded"])
def program(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Program]:
    if request.param == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, stacks / f"safety-{request.param}" / "stack", request.param)
    program.settings(f"server:\n  auth: basic\n  port: {free_port()}\n")
    subprocess.run(["git", "init", "-q", str(program.stack)], check=True)
    try:
        program("up", "--runtime", program.runtime, "--dry-run")
        program.up("--no-link")
        for command in ("status", "logs", "doctor", "env"):
            program(command)
        yield program
    finally:
        program.remove()


def values(program: Program) -> dict[str, str]:
    return {
        path.name: path.read_text()
        for path in (program.stack / "secrets").iterdir()
        if not path.name.startswith(".")
    }


def refuse_secrets(program: Program, text: str, where: str) -> None:
    assert [name for name, value in values(program).items() if value in text] == [], where


def test_secrets_are_32_url_safe_characters_in_files_nobody_else_can_reach(program: Program) -> None:
    assert {
        name for name, value in values(program).items() if not re.fullmatch("[A-Za-z0-9]{32}", value)
    } == set()
    assert (program.stack / "secrets").stat().st_mode & 0o077 == 0


def test_no_secret_in_what_the_program_says_or_plans(program: Program) -> None:
    refuse_secrets(program, "\n".join(program.log), "output")


def test_no_secret_in_rendered_files_state_and_logs(program: Program) -> None:
    for path in program.stack.rglob("*"):
        if (
            path.is_file()
            and not path.is_relative_to(program.stack / "secrets")
            and not path.is_relative_to(program.stack / "data")
        ):
            refuse_secrets(program, path.read_text(errors="replace"), str(path))


def test_no_secret_in_files_that_git_would_track(program: Program) -> None:
    argv = ["git", "-c", "safe.directory=*", "ls-files", "--others", "--exclude-standard"]
    tracked = subprocess.run(
        argv, cwd=program.stack, check=True, capture_output=True, text=True
    ).stdout.split()
    assert "provision.yml" in tracked
    assert not [
        path for path in tracked if path.startswith(("secrets", "data", "logs", "state.json", ".env"))
    ]


def test_no_secret_in_any_process_arguments(program: Program) -> None:
    for process in psutil.process_iter(["cmdline"]):
        refuse_secrets(program, "\0".join(process.info["cmdline"] or []), f"process {process.pid}")


def test_no_secret_in_docker_inspect_or_container_logs(program: Program) -> None:
    if program.runtime != "docker":
        return
    for service in program.services():
        container = program.container(service)
        inspected = subprocess.run(
            ["docker", "inspect", container], check=True, capture_output=True, text=True
        ).stdout
        refuse_secrets(program, inspected, f"docker inspect {service}")
        logs = subprocess.run(["docker", "logs", container], check=True, capture_output=True, text=True)
        refuse_secrets(program, logs.stdout + logs.stderr, f"docker logs {service}")


def test_only_the_proxy_listens_and_only_on_loopback(program: Program) -> None:
    port = int(program("status").data["tracking_uri"].rpartition(":")[2])
    if program.runtime == "docker":
        for service in program.services():
            facts = json.loads(
                subprocess.run(
                    ["docker", "inspect", program.container(service)], check=True, capture_output=True
                ).stdout
            )[0]
            published = {
                (p["HostIp"], p["HostPort"])
                for ports in facts["HostConfig"]["PortBindings"].values()
                for p in ports
            }
            assert published == ({("127.0.0.1", str(port))} if service == "proxy" else set()), service
        return
    ours = [p for p in psutil.process_iter() if _cwd(p).startswith(str(program.stack))]
    assert len(ours) >= 4
    listening = {
        (c.laddr.ip, c.laddr.port)
        for p in ours
        for c in p.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", port)}


def _cwd(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""


def test_a_stranger_is_refused_and_the_admin_is_let_in(program: Program) -> None:
    uri = program("status").data["tracking_uri"]
    request = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/experiments/search",
        b'{"max_results": 1}',
        {"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 401
    names = [check["name"] for check in program.up("--no-link").data["checks"] if check["ok"]]
    assert names == ["tracking server", "access"]


def test_a_foreign_host_header_is_refused_and_the_machines_name_in_containers_is_known(
    program: Program,
) -> None:
    uri = program("status").data["tracking_uri"]
    # Who is known is asked for a login.
    for host, code in (
        ("evil.example.com", 403),
        ("host.docker.internal:5000", 401),
        ("host.containers.internal", 401),
    ):
        request = urllib.request.Request(f"{uri}/api/2.0/mlflow/experiments/search", b"{}", {"Host": host})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == code, host


def test_the_stores_side_doors_refuse(program: Program) -> None:
    """From the engine's own host, which alone can reach the containers.

    Embedded, from this user, who owns the socket's directory.
    """
    if program.runtime == "docker":
        host = program.address("postgres")
    else:
        host = json.loads((program.stack / "data/runtime.json").read_text())["run"]
        assert Path(host).stat().st_mode & 0o077 == 0
    for user, password in (("postgres", ""), ("postgres", "postgres"), ("mlflow", "mlflow")):
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(host=host, user=user, password=password, dbname="mlflow")
    if program.runtime == "docker":
        quick = Config(retries={"max_attempts": 1}, connect_timeout=5)
        url = f"http://{program.address('minio')}:9000"
        for key, secret in (("minioadmin", "minioadmin"), ("provision", "provision")):
            client = boto3.client(
                "s3",
                endpoint_url=url,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                region_name="x",
                config=quick,
            )
            with pytest.raises(ClientError):
                client.list_buckets()


def test_the_servers_key_opens_its_bucket_and_no_other(program: Program) -> None:
    if program.runtime != "docker":
        return
    url = f"http://{program.address('minio')}:9000"

    def client(key: str, secret: str) -> object:
        return boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )

    root = client("provision", program.secret("minio_root_password"))
    root.create_bucket(Bucket="somebody-elses")  # type: ignore[attr-defined]
    ours = client(program.secret("s3_access_key_id"), program.secret("s3_secret_access_key"))
    ours.list_objects_v2(Bucket="mlflow")  # type: ignore[attr-defined]
    with pytest.raises(ClientError, match="AccessDenied"):
        ours.list_objects_v2(Bucket="somebody-elses")  # type: ignore[attr-defined]
    with pytest.raises(ClientError, match="AccessDenied"):
        ours.create_bucket(Bucket="one-more")  # type: ignore[attr-defined]


def test_the_servers_role_is_no_superuser(program: Program) -> None:
    if program.runtime == "docker":
        host = program.address("postgres")
    else:
        host = json.loads((program.stack / "data/runtime.json").read_text())["run"]
    connection = psycopg2.connect(
        host=host, user="mlflow", password=program.secret("backend_store_password"), dbname="mlflow"
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls "
            "FROM pg_roles WHERE rolname = 'mlflow'"
        )
        assert cursor.fetchall() == [(False, False, False, False, False)]


def psql(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    return program.text("psql", "--stack", str(program.stack), *arguments)


def test_the_databases_shell_is_the_servers_role_and_changes_nothing_unasked(program: Program) -> None:
    assert psql(program, "-Atc", "SELECT current_user, count(*) > 0 FROM experiments").stdout == "mlflow|t\n"
    refused = psql(program, "-c", "CREATE TABLE mine (one int)")
    assert (refused.returncode, "read-only transaction" in refused.stderr) == (1, True)
    assert psql(program, "--write", "-Atc", "BEGIN; CREATE TABLE mine (one int); ROLLBACK").returncode == 0
    missing = psql(program, "--write", "-c", "SELECT * FROM mine")
    assert 'relation "mine" does not exist' in missing.stderr


def test_no_secret_in_the_arguments_of_the_databases_shell(program: Program) -> None:
    argv = [str(program.environment / "bin/provision"), "psql", "--stack", str(program.stack), "-At"]
    shell = subprocess.Popen(argv, env=program.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert shell.stdin
        assert shell.stdout
        shell.stdin.write("SELECT 'it runs';\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == "it runs\n"
        arguments = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        assert any("/psql " in line or " psql " in line for line in arguments)
        refuse_secrets(program, "\n".join(arguments), "arguments")
        # What it interrupts is a statement, and not the command around it.
        shell.send_signal(signal.SIGINT)
        output, _ = shell.communicate("SELECT 'still there';\n", timeout=60)
        assert (shell.returncode, output) == (0, "still there\n")
    finally:
        shell.kill()
        shell.wait()


def test_what_is_interrupted_in_the_databases_shell_does_not_go_on(program: Program) -> None:
    argv = [str(program.environment / "bin/provision"), "psql", "--write", "--stack", str(program.stack)]
    shell = subprocess.Popen(
        argv,
        env=program.env,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert shell.stdin
        shell.stdin.write("SELECT pg_sleep(30);\nCREATE TABLE after_it (one int);\n")
        shell.stdin.close()
        sleeping = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(30)%'"
        )
        # Only an admin sees what others ask.
        seen = ("-qAt", "-c", "SET ROLE NONE", "-c", sleeping)
        eventually(lambda: psql(program, *seen).stdout == "1\n", 60, "the statement is under way")
        # As a terminal sends it: to the whole group.
        os.killpg(shell.pid, signal.SIGINT)
        assert shell.wait(60) != 0
        eventually(lambda: psql(program, *seen).stdout == "0\n", 20, "the statement has ended")
        assert psql(program, "-Atc", "SELECT to_regclass('after_it') IS NULL").stdout == "t\n"
    finally:
        shell.kill()
        shell.wait()


def test_containers_may_do_nothing_they_do_not_need(program: Program) -> None:
    if program.runtime != "docker":
        return
    for service in program.services():
        facts = json.loads(
            subprocess.run(
                ["docker", "inspect", program.container(service)], check=True, capture_output=True
            ).stdout
        )[0]
        may_do_little(facts, service)


def test_server_and_stores_have_no_route_out(program: Program) -> None:
    if program.runtime != "docker":
        return
    for service in ("mlflow", "postgres", "minio"):
        networks = json.loads(
            subprocess.run(
                ["docker", "inspect", program.container(service)], check=True, capture_output=True
            ).stdout
        )[0]
        for name in networks["NetworkSettings"]["Networks"]:
            network = json.loads(
                subprocess.run(["docker", "network", "inspect", name], check=True, capture_output=True).stdout
            )[0]
            assert network["Internal"], f"{service} is on {name}"


def test_a_body_that_is_no_object_is_refused_after_the_login(program: Program) -> None:
    uri = program("status").data["tracking_uri"]
    login = basic("admin", program.secret("mlflow_admin_password"))
    for headers, code in (({}, 401), ({"Authorization": login}, 400)):
        for path in ("/api/2.0/mlflow/runs/create", "/api/2.0/mlflow/users/create", "/graphql"):
            request = urllib.request.Request(
                f"{uri}{path}", b"[1]", {"Content-Type": "application/json", **headers}
            )
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=10)
            assert refused.value.code == code, path


def test_open_shows_the_page_where_a_browser_can_have_a_window(program: Program, tmp_path: Path) -> None:
    uri, told = program("status").data["tracking_uri"], tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" >{told}\n')
    browser.chmod(0o755)
    screen = {"BROWSER": str(browser), "DISPLAY": ":99"}
    assert program.changed(variables={**program.variables, **screen})("open").data["opened"]
    eventually(lambda: told.exists() and told.read_text() == f"{uri}/", 10, "the browser is told the address")
    blind = program.changed(
        variables={**program.variables, "BROWSER": str(browser), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    )("open")
    assert (blind.code, blind.data["opened"], blind.data["tracking_uri"]) == (0, False, uri)


def test_the_page_after_a_login_complains_of_nothing(program: Program, browser: Browser) -> None:
    uri = str(program("status").data["tracking_uri"])
    password = program("user", "add", "ana", "--generate").data["password"]
    for user, secret in (("admin", program.secret("mlflow_admin_password")), ("ana", str(password))):
        browser.sign_in(user, secret)
        for page in ("", "#/experiments", "#/experiments/0", "#/models", "#/settings"):
            visit = browser.visit(f"{uri}/{page}", lambda text: len(text) > 50)
            assert visit.complained(uri) == [], page
            assert user in browser.text() or page == "#/settings"
            assert "Assistant" not in browser.text()
