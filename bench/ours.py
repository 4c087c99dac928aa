"""`provision up` of this tree, as users have it: the built wheel in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.rest import Api, basic_authorization
from bench.stores import Stores
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.s3_server import KEY, SECRET

START_SECONDS = 180
SERVER = "mlflow"


@dataclass
class Ours:
    """One stack; on the shared stores, or with a database and artifacts of its own."""

    name: str
    stores: Stores
    installed: Path
    runtime: str
    login: bool = False
    tls: bool = False
    own_stores: bool = False
    port: int = field(default_factory=free_port)

    @property
    def database(self) -> str:
        return self.name.replace("-", "_")

    @property
    def api(self) -> Api:
        password = self.program.secret("mlflow_admin_password") if self.login else ""
        authorization = basic_authorization("admin", password) if self.login else ""
        return Api(self.url, authorization, self.program.stack / "ca.crt" if self.tls else None)

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def program(self) -> Program:
        variables = {}
        if not self.own_stores:
            variables = {
                "PGPASSWORD": self.stores.postgres.password,
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
            }
        return Program(self.installed, self.stores.folder / self.name / "stack", self.runtime, variables)

    def prepare(self) -> None:
        if not self.own_stores:
            users = [f"{self.database}_auth"] if self.login else []
            self.stores.postgres.make_databases(self.database, self.database, *users)
            self.stores.s3.client().create_bucket(Bucket=self.name)
        self.program.settings(self._settings())

    def start(self) -> float:
        started = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            command = pool.submit(self.program.up)
            # The first `up` makes the login.
            while (
                self.login
                and not command.done()
                and not (self.program.stack / "secrets/mlflow_admin_password").exists()
            ):
                time.sleep(0.02)
            self.api.wait(started + START_SECONDS, lambda: command.done() and command.result())
            first_answer = time.monotonic() - started
            command.result()
        return first_answer

    def stop(self) -> None:
        if (self.program.stack / "state.json").exists():
            self.program("down")

    def log(self) -> str:
        """Return the last lines of its services' logs."""
        return "".join(
            f"{path.name}\n{path.read_text()[-1500:]}\n"
            for path in sorted((self.program.stack / "logs").glob("*.log"))
        )

    def remove(self) -> None:
        """Remove everything of the stack."""
        self.program.remove()

    def processes(self) -> list[psutil.Process]:
        if self.runtime == "docker":
            return [
                process for container in self.program.services() for process in self._processes_of(container)
            ]
        memory = json.loads((self.program.stack / "data/runtime.json").read_text())
        supervisor = psutil.Process(memory["supervisor"]["pid"])
        return [supervisor, *supervisor.children(recursive=True)]

    def server_processes(self) -> list[psutil.Process]:
        """Return the processes of the tracking server; neither the proxy nor a store is one."""
        if self.runtime == "docker":
            return self._processes_of(SERVER)
        server = psutil.Process(int(self.program.services()[SERVER]["id"].removeprefix("pid ")))
        return [server, *server.children(recursive=True)]

    def add_user(self, name: str) -> str:
        """Add an ordinary user; return the Authorization header of its login."""
        added = self.program("user", "add", name, "--generate")
        if added.code != 0:
            raise RuntimeError(f"{self.name}: no user was added: {self.program.report()}")
        return basic_authorization(name, added.data["password"])

    def _processes_of(self, service: str) -> list[psutil.Process]:
        argv = ["docker", "inspect", "--format", "{{.State.Pid}}", self.program.container(service)]
        # What ran once and has ended has number 0.
        pid = int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if pid else []

    def _settings(self) -> str:
        text = f"server:\n  port: {self.port}\n" + ("  auth: basic\n" if self.login else "")
        text += f"  tls: internal\n  public_url: {self.url}\n" if self.tls else ""
        if self.own_stores:
            return text
        uri = f"postgresql+psycopg2://{self.database}@{self.stores.address}:{self.stores.postgres.port}/{self.database}"
        return (
            f"{text}backend_store:\n  kind: external\n  uri: {uri}\n  indexes: true\n"
            f"artifact_store:\n  kind: s3\n  bucket: {self.name}\n  endpoint_url: {self.stores.s3.url}\n"
        )
