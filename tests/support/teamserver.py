"""A team's server: a container with SSH and its own Docker engine, and an admin's machine that knows it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.support.checks import eventually
from tests.support.installed import TEST_IMAGES, Answer, Program
from tests.support.sshd import Client as SSHClient
from tests.support.sshd import wait_for
from tests.support.tls_client import Client

IMAGE = "provision-test/team-server:trixie"
ADMIN = "ana"
CAPABILITIES = (
    "SYS_ADMIN NET_ADMIN SYS_PTRACE MKNOD SYS_CHROOT NET_RAW DAC_READ_SEARCH SYS_NICE LINUX_IMMUTABLE "
    "SYS_MODULE"
)
OPEN = ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined")
IMAGES = [line.split(": ")[1] for line in TEST_IMAGES.splitlines()[1:]]


@dataclass
class TeamServer:
    """The container, and `ssh` as its admin has it."""

    container: str
    address: str
    client: SSHClient

    @property
    def destination(self) -> str:
        return f"{ADMIN}@{self.address}"

    def run(self, *argv: str, stdin: bytes = b"", user: str = "root", check: bool = True) -> str:
        """What a program inside says."""
        done = subprocess.run(
            ["docker", "exec", "-i", "-u", user, self.container, *argv],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0 or not check, f"{argv}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def sh(self, script: str, check: bool = True) -> str:
        """What a script of root's says there."""
        return self.run("/bin/sh", "-c", script, check=check)

    def put(self, content: bytes, path: str) -> None:
        self.run("/bin/sh", "-c", f"cat >'{path}'", stdin=content)

    def get(self, path: str) -> bytes:
        return self.run("cat", path).encode()

    def load(self, *images: str) -> None:
        """The images of this machine's engine in the server's."""
        saved = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        loaded = subprocess.run(
            ["docker", "exec", "-i", self.container, "docker", "load"],
            stdin=saved.stdout,
            check=False,
            capture_output=True,
        )
        assert saved.wait() == 0
        assert loaded.returncode == 0, loaded.stderr

    def containers(self) -> dict[str, str]:
        """Of each service that the engine there has, what changes when it is restarted."""
        rows = self.sh("docker ps -aq --no-trunc").split()
        if not rows:
            return {}
        found = {}
        for facts in json.loads(self.run("docker", "inspect", *rows)):
            name = facts["Config"]["Labels"].get("com.docker.compose.service", facts["Name"])
            found[name] = f"{facts['Id']} {facts['State']['StartedAt']} {facts['State']['Status']}"
        return found

    def host_key(self) -> str:
        return self.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub")

    def stack(self, name: str = "mlflow") -> str:
        """The directory of a stack there."""
        return f"/home/{ADMIN}/provision/{name}"

    def clean(self) -> None:
        """Nothing that a test deployed is left; images stay."""
        self.sh(
            "docker ps -aq | xargs -r docker rm -f; docker volume ls -q | xargs -r docker volume rm; "
            "docker network prune -f"
        )
        self.sh(f"rm -rf /home/{ADMIN}/provision")


@contextmanager
def team_server(folder: Path) -> Iterator[TeamServer]:
    """A server with nothing on it but the images of the tests, and an admin who may use its engine."""
    client = SSHClient(folder / "ssh")
    client.make()
    options = [part for name in CAPABILITIES.split() for part in ("--cap-add", name)]
    options += [part for name in OPEN for part in ("--security-opt", name)]
    argv = [
        "docker",
        "run",
        "-d",
        *options,
        "-v",
        "/sys/fs/cgroup:/sys/fs/cgroup",
        "--hostname",
        "team",
        IMAGE,
    ]
    container = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = subprocess.run(
            ["docker", "inspect", "-f", form, container], check=True, capture_output=True, text=True
        ).stdout.strip()
        server = TeamServer(container, address, client)
        wait_for(address, 22)
        eventually(
            lambda: server.sh("docker version >/dev/null && echo yes", check=False),
            60,
            "its engine answers",
            pause=0.5,
        )
        authorize(server, ADMIN, Path(f"{client.key}.pub").read_text())
        client.add_host("team", address, 22, ADMIN, server.host_key())
        server.load(*IMAGES)
        yield server
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", container], check=True, capture_output=True)


def authorize(server: TeamServer, account: str, public_key: str) -> None:
    """The account takes that key."""
    home = f"/home/{account}"
    server.sh(f"mkdir -p {home}/.ssh")
    server.put(public_key.encode(), f"{home}/.ssh/authorized_keys")
    server.sh(
        f"chown -R {account}:{account} {home}/.ssh && chmod 700 {home}/.ssh "
        f"&& chmod 600 {home}/.ssh/authorized_keys"
    )


@dataclass
class Team:
    """The server, and the admin's `provision` on this machine."""

    server: TeamServer
    program: Program
    dry_run: str = ""
    """What a first dry run said on a terminal."""

    @property
    def settings(self) -> dict[str, object]:
        return dict(yaml.safe_load((self.program.stack / "provision.yml").read_text()))

    def deploy(self, *arguments: str) -> Answer:
        answer = self.program("deploy", *arguments)
        assert answer.code == 0, self.program.report()
        return answer

    def client(self, **options: Any) -> Client:
        login = ("admin", self.server.run("cat", f"{self.server.stack()}/secrets/mlflow_admin_password"))
        ca = self.program.stack / "ca.crt"
        return replace(Client(443, self.server.address, self.server.address, ca, login=login), **options)


def program_of(installed: Path, server: TeamServer, stack: Path) -> Program:
    """The admin's program, whose `ssh` is the one that knows the server."""
    path = f"{server.client.folder / 'bin'}:{installed / 'bin'}:{os.environ['PATH']}"
    return Program(installed, stack, "docker", {"PATH": path})


def make_server_image(program: Program) -> str:
    """The server image of this program, made by this machine's engine where it is not there yet."""
    scratch = program.changed(stack=program.stack.parent / "scratch")
    scratch.settings()
    assert scratch("render").code == 0, scratch.report()
    image = yaml.safe_load((scratch.stack / "docker-compose.yml").read_text())["services"]["mlflow"]["image"]
    there = (
        subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode
        == 0
    )
    if not there:
        subprocess.run(["docker", "compose", "build"], cwd=scratch.stack, check=True, capture_output=True)
    shutil.rmtree(scratch.stack)
    return str(image)
