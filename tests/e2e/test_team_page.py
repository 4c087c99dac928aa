"""The page about a team's server, word for word: a bare server, a public domain, a new admin, a colleague."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pexpect
import pytest

from tests.support.checks import may_do_little
from tests.support.go_programs import needed
from tests.support.installed import DATA, ROOT, TEST_IMAGES
from tests.support.kedro_env import new_shop
from tests.support.pebble import pebble
from tests.support.teamserver import ADMIN, TeamServer, make_server_image, program_of
from tests.support.tls_client import Client

DOMAIN = "mlflow.example.com"
NAME = "page"
PAGE = (ROOT / "docs/how-to/team-server.md").read_text()
LINKING = (ROOT / "docs/how-to/link-to-a-team-server.md").read_text()
PASSWORD = "ben's own password"


@dataclass
class Desk:
    """Where people type: the domain leads to the server, and Pebble's root is one of the public ones."""

    server: TeamServer
    folder: Path
    env: dict[str, str]
    trusted: Path
    said: list[str] = field(default_factory=list)

    def type(
        self,
        command: str,
        *answers: tuple[str, str],
        page: str = PAGE,
        cwd: str = "team-mlflow",
        seconds: int = 300,
    ) -> str:
        """What a command of the page says on a terminal, where it ends well.

        It is asked something and answers, in that order.
        """
        assert command in page, f"the page does not say: {command}"
        script = f'mount --bind {self.folder}/hosts /etc/hosts && exec sh -c "$0"'
        terminal = pexpect.spawn(
            "unshare",
            ["--mount", "sh", "-c", script, command],
            cwd=self.folder / cwd,
            env=self.env,
            encoding="utf-8",
            timeout=seconds,
        )
        said = ""
        try:
            for question, answer in answers:
                terminal.expect_exact(question)
                said += str(terminal.before)
                # A password is asked for with the echo off; what is typed before that would be lost.
                terminal.waitnoecho(2)
                terminal.sendline(answer)
            terminal.expect(pexpect.EOF)
        except pexpect.ExceptionPexpect as failure:
            raise AssertionError(f"$ {command}\n{said}{terminal.before}\n{type(failure).__name__}") from None
        finally:
            terminal.close(force=True)
        said += str(terminal.before)
        self.said.append(f"$ {command}\n{said}")
        assert terminal.exitstatus == 0, self.said[-1]
        return said

    def there(self, command: str, **others: str) -> str:
        """The same at the server, as its admin, with what stands for the page's words."""
        assert command in PAGE, f"the page does not say: {command}"
        known = {"NAME": NAME, "PROJECT": self.project, **others}
        script = re.sub("|".join(known), lambda found: known[found[0]], command)
        return self.server.run("su", "-", ADMIN, "-c", script)

    @cached_property
    def project(self) -> str:
        """The Compose project's name, as long as the stack is there to be asked first."""
        return str(json.loads(self.server.get(f"{self.server.stack(NAME)}/state.json"))["project"])

    def client(self, user: str, password: str) -> Client:
        return Client(443, DOMAIN, address=self.server.address, ca=self.trusted, login=(user, password))


@pytest.fixture(scope="module")
def desk(installed: Path, server: TeamServer) -> Iterator[Desk]:
    needed("pebble", "pebble-challtestsrv")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no name can be given to a server here")
    others = server.sh("docker ps -q").split()
    folder = Path(tempfile.mkdtemp(dir=DATA, prefix="page-"))
    (folder / "home").mkdir()
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{server.address} {DOMAIN}\n")
    program = program_of(installed, server, folder / "stack")
    server.load(make_server_image(program))
    server.sh(f"echo {' '.join(others)} | xargs -r docker stop")
    server.run(
        "docker",
        "build",
        "-q",
        "-t",
        "debian",
        "-",
        stdin=b"FROM provision-test/postgres:18\nENTRYPOINT []\nUSER root\n",
    )
    gateway = server.sh("ip route show default").split()[2]
    known = server.client.known_hosts.read_text()
    server.client.add_host(DOMAIN, DOMAIN, 22, ADMIN, server.host_key())
    public = Path(ssl.get_default_verify_paths().cafile or os.environ["SSL_CERT_FILE"])
    try:
        with pebble(gateway, 80, 443, leads_to=server.address) as acme:
            trusted = folder / "public.pem"
            trusted.write_bytes(public.read_bytes() + acme.trusted)
            believed = {"SSL_CERT_FILE": str(trusted), "REQUESTS_CA_BUNDLE": str(trusted)}
            desk = Desk(
                server,
                folder,
                {**program.env, "HOME": str(folder / "home"), "TERM": "dumb", **believed},
                trusted,
            )
            desk.type("mkdir team-mlflow && cd team-mlflow", cwd=".")
            (folder / "team-mlflow/acme.pem").write_bytes(acme.trusted)
            # What the page leaves to Let's Encrypt.
            front = f"server:\n  auth: basic\n  tls: acme\n  public_url: https://{DOMAIN}\n"
            authority = f"  acme_ca: {acme.directory}\n  acme_ca_file: acme.pem\n"
            (folder / "team-mlflow/provision.yml").write_text(
                f"{TEST_IMAGES}name: {NAME}\n{front}{authority}"
            )
            yield desk
    finally:
        server.sh(
            f"docker ps -aq --filter label=com.docker.compose.project --filter name={NAME} "
            "| xargs -r docker rm -f"
        )
        server.client.known_hosts.write_text(known)
        server.sh(f"rm -rf {server.stack(NAME)}; echo {' '.join(others)} | xargs -r docker start")
        shutil.rmtree(folder, ignore_errors=True)


def test_the_page_leads_from_a_bare_server_to_a_working_team_and_back(desk: Desk) -> None:
    said = desk.type(f"provision deploy ana@{DOMAIN} --domain {DOMAIN}")
    assert re.search(r"set +server\.bind +0\.0\.0\.0", said), said
    assert f"https://{DOMAIN}" in said

    shown = desk.type("provision credentials")
    password = re.search(r"password +(\S+)", shown)
    assert password, shown
    admin = desk.client("admin", password[1])
    assert admin("GET", "/health").headers["strict-transport-security"]
    assert admin("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1}).status == 200
    assert "running" in desk.type("provision status")
    desk.type("provision user add ben", ("Password of ben", PASSWORD), ("Repeat", PASSWORD))
    before = desk.server.containers()
    assert re.search(r"unchanged +services", desk.type("provision deploy"))
    assert desk.server.containers() == before

    colleague_runs(desk)
    runs_are_there(desk)
    containers_are_narrow(desk)

    desk.type("provision down", ("host's name", DOMAIN))
    script = 'docker run --rm -v PROJECT_postgres:/v -v "$PWD":/to debian tar -C /v -cf /to/postgres.tar .'
    for volume, content in (("postgres", "PG_VERSION"), ("minio", "./mlflow/")):
        desk.there(script, postgres=volume)
        assert content in desk.server.run("tar", "-tf", f"/home/{ADMIN}/{volume}.tar")
    desk.type("provision deploy")
    runs_are_there(desk)

    desk.type("provision erase", ("host's name", DOMAIN))
    assert not desk.server.sh(f"docker volume ls -q --filter name={NAME}")
    desk.there("rm -r ~/provision/NAME")
    assert NAME not in desk.server.sh(f"ls /home/{ADMIN}/provision").split()


def colleague_runs(desk: Desk) -> None:
    """Ben links his project, from his own shell, and runs it."""
    new_shop(desk.folder, desk.env)
    line = f"provision link --uri https://{DOMAIN} --user ana"
    assert line in LINKING
    desk.type(
        line.replace("ana", "ben"), ("Password of ben", PASSWORD), page=line.replace("ana", "ben"), cwd="shop"
    )
    desk.type("kedro run", page=LINKING, cwd="shop")


def runs_are_there(desk: Desk) -> None:
    ben = desk.client("ben", PASSWORD)
    found = ben("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=shop").json()["experiment"][
        "experiment_id"
    ]
    runs = ben("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [found]}).json()["runs"]
    assert [run["info"]["status"] for run in runs] == ["FINISHED"]


def containers_are_narrow(desk: Desk) -> None:
    """On the server's engine: no needless right, no port but the proxy's, no way out of the data network."""
    inspected = json.loads(
        desk.server.sh(
            f"docker inspect $(docker ps -q --filter label=com.docker.compose.project={desk.project})"
        )
    )
    services = {facts["Config"]["Labels"]["com.docker.compose.service"]: facts for facts in inspected}
    assert {"proxy", "mlflow", "postgres", "minio"} <= set(services)
    for service, facts in services.items():
        may_do_little(facts, service)
        published = {
            bound["HostPort"] for ports in facts["HostConfig"]["PortBindings"].values() for bound in ports
        }
        assert published == ({"80", "443"} if service == "proxy" else set()), service
        for network in facts["NetworkSettings"]["Networks"]:
            internal = desk.server.sh(f"docker network inspect -f '{{{{.Internal}}}}' {network}") == "true"
            assert internal or service == "proxy", f"{service} is on {network}"
