"""A stack with a login, told clients' addresses by a trusted proxy, the test; floods of wrong passwords."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.server.deployed import Deployed, Peer, Reply, eventually
from tests.server.load import rate
from tests.support.tls_client import basic

FLOOD = Path(__file__).with_name("flood_script.py")
SEARCH = "/api/2.0/mlflow/experiments/search"
NAME = "mlflow.example.com"
LOGIN_STACK = f"""\
artifact_store:
  kind: local
server:
  auth: basic
  port: {{port}}
  tls: external
  trusted_proxies: [127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]
  public_url: https://{NAME}
"""
OTHERS = 8


@dataclass(frozen=True)
class Door:
    """The proxy of such a stack."""

    deployed: Deployed

    def ask(self, user: str, password: str, address: str, path: str = SEARCH) -> Reply:
        """Return the answer to one call with that login, from that address."""
        headers = {"Host": NAME, "Authorization": basic(user, password), "X-Forwarded-For": address}
        method, body = ("POST", {"max_results": 1}) if path == SEARCH else ("GET", None)
        return Peer(self.deployed.front.address)(method, path, body, headers)

    def admin(self, address: str = "198.51.100.1") -> Reply:
        return self.ask("admin", self.deployed.program.secret("mlflow_admin_password"), address)

    def ready(self) -> None:
        """Wait until the admin is let in."""
        eventually(lambda: self.admin().status == 200, "the server lets the admin in")

    def rate(self, seconds: float) -> float:
        """Return the calls that others were answered in a second; one that is refused fails the test."""
        return rate(lambda number: self.admin(f"198.51.100.{number}").status, OTHERS, seconds)

    def flood(self, way: str, connections: int, seconds: float) -> subprocess.Popen[str]:
        """Start a flood of wrong passwords; in the end it prints counts of its answers by status, as JSON."""
        argv = [
            sys.executable,
            str(FLOOD),
            self.deployed.front.address,
            NAME,
            str(connections),
            str(seconds),
            way,
        ]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
