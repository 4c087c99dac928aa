"""A stack behind TLS whose settings change from test to test, and who uses it: Kedro and MLflow's client."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Authority, write_pair
from tests.support.installed import Program
from tests.support.tls_client import Client, own_address

PUBLIC = "mlflow.example.com"
MLFLOW_CLIENT = """\
import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("score", 0.5)
    mlflow.log_text("seen through TLS", "note.txt")
print(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/note.txt"))
"""


@dataclass
class Front:
    """One stack, whose settings change from test to test."""

    program: Program
    port: int
    http_port: int
    serving: str = ""
    """The settings that it runs with, as far as one knows."""

    @property
    def ca(self) -> Path:
        return self.program.stack / "ca.crt"

    def settings(self, text: str, redirect: bool = True) -> None:
        http = f"  http_port: {self.http_port}\n" if redirect else ""
        self.program.settings(f"artifact_store:\n  kind: local\nserver:\n  auth: basic\n{http}{text}")

    def serve(self, text: str, redirect: bool = True) -> None:
        self.settings(text, redirect)
        self.serving = ""
        answer = self.program.up("--no-link")
        assert all(check["ok"] for check in answer.data["checks"]), self.program.report()
        self.serving = text

    def needs(self, text: str) -> None:
        """Serve with those settings, unless the test before left it so."""
        if self.serving != text:
            self.serve(text)

    def at_its_address(self) -> None:
        address = own_address()
        self.needs(f"  bind: 0.0.0.0\n  tls: internal\n  public_url: https://{address}:{self.port}\n")

    def in_the_network(self) -> None:
        self.needs(f"  tls: internal\n  public_url: https://mlflow.lan:{self.port}\n")

    def with_files(self) -> Authority:
        """Serve with a good certificate of the user's own, new each time; returns who signed it."""
        authority = Authority("Company CA")
        certificate, key = authority.issue(PUBLIC)
        write_pair(self.program.stack / "certs", certificate + authority.root, key)
        self.serve(files(self))
        return authority

    def client(self, name: str, **options: object) -> Client:
        login = ("admin", self.program.secret("mlflow_admin_password"))
        return Client(self.port, name, **{"ca": self.ca, "login": login, **options})  # type: ignore[arg-type]

    def access(self, path: str) -> dict[str, object]:
        """The last line of the access log about the path."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            lines = self.program("logs", "proxy", "--lines", "200").data["logs"]["proxy"].splitlines()
            found = [line for line in lines if f'"path":"{path}"' in line]
            if found:
                return dict(json.loads(found[-1]))
            time.sleep(0.2)
        raise AssertionError(f"no line about {path}")


def kedro_project(front: Front, name: str) -> Path:
    parent = front.program.stack.parent
    if not (parent / name).exists():
        argv = [
            str(front.program.environment / "bin/kedro"),
            "new",
            "--name",
            name,
            "--tools",
            "none",
            "--example",
            "n",
            "--telemetry",
            "no",
        ]
        subprocess.run(argv, cwd=parent, check=True, capture_output=True, env=front.program.env)
    return parent / name


def run_with(front: Front, argv: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    argv = [str(front.program.environment / "bin" / argv[0]), *argv[1:]]
    env = {**front.program.env, **variables}
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300)


def files(front: Front) -> str:
    return (
        f"  tls: files\n  public_url: https://{PUBLIC}:{front.port}\n"
        "  tls_certificate: certs/cert.pem\n  tls_key: certs/key.pem\n"
    )
