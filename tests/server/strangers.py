"""A stack with login and TLS as strangers meet it: its routes, what answers them, and ways to call it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import psutil

from tests.support.installed import Program
from tests.support.tls_client import Answer, Client

NAME = "mlflow.lan"
SEARCH = "/api/2.0/mlflow/experiments/search"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# What answers a stranger, and why that is right.
OPEN = {
    ("GET", "/health"): "says OK and nothing else: load balancers ask it",
    (
        "GET",
        "/api/3.0/mlflow/server-info",
    ): "what the server can do, by which clients choose how to talk to it before they log in",
    ("GET", "/ajax-api/3.0/mlflow/server-info"): "the same, for the page",
    (
        "GET",
        "/static-files/x",
    ): "scripts and pictures of MLflow's page, as anybody can download them; a file that is not there",
}
REFUSED = {401, 403}
NUMBERS = count()
INTERNALS = re.compile(
    r"Traceback|File \"|site-packages|/opt/|/var/|/usr/lib|/tmp/|psycopg2|sqlalchemy|root:x:", re.IGNORECASE
)
FAMILIES = [
    ("POST", SEARCH),
    ("GET", ARTIFACTS),
    ("GET", f"{ARTIFACTS}/x"),
    ("POST", "/v1/traces"),
    ("POST", "/graphql"),
    ("GET", "/"),
]


def script(name: str) -> bytes:
    """That script with what stands before it; a server's environment has none of our files."""
    return b"".join(Path(__file__).with_name(part).read_bytes() for part in ("every_route.py", name))


@dataclass
class Door:
    """A stack with login and TLS."""

    program: Program
    port: int

    def client(self, user: str = "", password: str = "") -> Client:
        return Client(
            self.port, NAME, ca=self.program.stack / "ca.crt", login=(user, password) if user else None
        )

    @property
    def admin(self) -> Client:
        return self.client("admin", self.program.secret("mlflow_admin_password"))

    def routes(self) -> list[tuple[str, str]]:
        """Every pair of method and path, asked of the server's own environment."""
        return [(method, path) for method, path in self.run("list_routes.py")]

    def run(self, name: str, *arguments: str) -> Any:
        """The JSON that a script says which runs in the server's own environment, beside the server."""
        if self.program.runtime == "docker":
            argv = [
                "docker",
                "exec",
                "-i",
                self.program.container("mlflow"),
                "/opt/venv/bin/python",
                "-W",
                "ignore",
                "-",
            ]
        else:
            environment = json.loads((self.program.stack / "data/runtime.json").read_text())["environment"]
            argv = [f"{environment}/bin/python", "-W", "ignore", "-"]
        done = subprocess.run(
            [*argv, *arguments], input=script(name), capture_output=True, check=False, cwd="/", timeout=300
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
        return json.loads(done.stdout)

    def workers(self) -> set[str]:
        """The process numbers of the tracking server."""
        if self.program.runtime == "docker":
            argv = ["docker", "top", self.program.container("mlflow"), "-eo", "pid,args"]
            rows = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
            return {row.split()[0] for row in rows if "provision_server server" in row}
        found = set()
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                if "provision_server server" in " ".join(
                    process.info["cmdline"] or []
                ) and process.cwd() == str(self.program.stack):
                    found.add(str(process.pid))
        return found


def call_all(clients: Iterator[Client], pairs: list[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
    def one(client: Client, pair: tuple[str, str]) -> Answer:
        method, path = pair
        return client(method, path, None if method == "GET" else {})

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(pairs, pool.map(one, islice(clients, len(pairs)), pairs), strict=True))


def nobodies(door: Door) -> Iterator[Client]:
    """Clients with wrong logins, each of another user: one who fails often is answered 429."""
    return (door.client(f"nobody{number}", "wrong") for number in NUMBERS)


def refuse_internals(answer: Answer, where: object) -> None:
    assert not INTERNALS.search(answer.body.decode(errors="replace")), (where, answer.body[:500])


def opened(door: Door, stack: ExitStack, count: int, sent: bytes) -> list[socket.socket]:
    connections = [stack.enter_context(door.client().connect()) for _ in range(count)]
    for connection in connections:
        connection.sendall(sent)
    return connections


def slowest(door: Door, calls: int = 10) -> float:
    """Seconds of the slowest of some calls of somebody with a login."""
    worst = 0.0
    for _ in range(calls):
        started = time.monotonic()
        assert door.admin("POST", SEARCH, {"max_results": 1}).status == 200
        worst = max(worst, time.monotonic() - started)
    return worst
