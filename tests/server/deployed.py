"""A running stack as the server's tests see it: through the proxy, behind it, and at its processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.checks import running
from tests.support.installed import ROOT, Program

HERE = Path(__file__).parent
DEADLINE = 60.0
# MLflow takes None where a URI is set, to forget it, and its annotations do not say so.
NO_URI: Any = None


def unique(name: str) -> str:
    """A name that nothing else has."""
    return f"{name} {uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Reply:
    """What an HTTP server answered, nothing decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Peer:
    """One listening HTTP server: HOST:PORT or the path of a unix socket."""

    address: str

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | str | object | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Reply:
        """The answer to one request on its own connection; a body neither text nor bytes is sent as JSON."""
        sent = {"Host": "127.0.0.1", "Accept-Encoding": "identity", **(headers or {})}
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None and not any(name.lower() == "content-type" for name in sent):
            sent["Content-Type"] = "application/json"
        connection = self.connection(timeout)
        try:
            # A server may answer before it has read the whole body.
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, path, body.encode() if isinstance(body, str) else body, sent)
            answer = connection.getresponse()
            return Reply(
                answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    def connection(self, timeout: float = 60) -> http.client.HTTPConnection:
        if self.address.startswith("/"):
            return _UnixConnection(self.address, timeout)
        return http.client.HTTPConnection(self.address, timeout=timeout)


@dataclass(frozen=True)
class Processes:
    """The tracking server's processes, as the place where they run numbers them."""

    master: int
    flask: tuple[int, ...]
    asgi: tuple[int, ...]

    @property
    def workers(self) -> tuple[int, ...]:
        return (*self.flask, *self.asgi)


class Deployed:
    """A stack that runs, made by `provision up`."""

    def __init__(self, program: Program, uri: str) -> None:
        self.program = program
        self.uri = uri
        self.runtime = program.runtime

    @cached_property
    def front(self) -> Peer:
        """The proxy."""
        return Peer(urlsplit(self.uri).netloc)

    @property
    def asgi(self) -> Peer:
        """All of MLflow, as its own command serves it: the FastAPI application, Flask's mounted inside."""
        return Peer(
            f"{self.run}/mlflow-asgi.sock" if self.embedded else f"{self.program.address('mlflow')}:5001"
        )

    @property
    def embedded(self) -> bool:
        return self.runtime == "embedded"

    @property
    def memory(self) -> dict[str, Any]:
        """What the embedded runtime remembers."""
        return dict(json.loads((self.program.stack / "data/runtime.json").read_text()))

    @property
    def run(self) -> str:
        """The embedded runtime's directory of sockets."""
        return str(self.memory["run"])

    @property
    def postgres_host(self) -> str:
        return self.run if self.embedded else self.program.address("postgres")

    def query(
        self, text: str, *values: object, user: str = "mlflow", database: str = "mlflow"
    ) -> list[tuple[Any, ...]]:
        """The rows, asked of the database itself."""
        import psycopg2

        secret = "postgres_password" if user == "postgres" else "backend_store_password"
        connection = psycopg2.connect(
            host=self.postgres_host, user=user, dbname=database, password=self.program.secret(secret)
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, values or None)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def python(self, script: str | Path, *arguments: str, timeout: float = 120) -> str:
        """What a script says that runs in the server's environment, beside it and as its account."""
        text = script.read_text() if isinstance(script, Path) else script
        if self.embedded:
            argv, env, own = (
                [f"{self.memory['environment']}/bin/python", "-", *arguments],
                {"PATH": os.environ["PATH"]},
                self.account(),
            )
        else:
            argv, env, own = (
                [
                    "docker",
                    "exec",
                    "-i",
                    self.program.container("mlflow"),
                    "/opt/venv/bin/python",
                    "-",
                    *arguments,
                ],
                None,
                {},
            )
        done: subprocess.CompletedProcess[str] = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=env,
            cwd="/",
            **own,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def account(self) -> dict[str, Any]:
        owner = (self.program.stack / "data/home").stat()
        return (
            {}
            if owner.st_uid == os.geteuid()
            else {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        )

    def processes(self) -> Processes:
        """Master and workers by role, once every worker shows its role."""
        # The launcher, which keeps the sockets, has gunicorn as its child.
        master = str(running(self.program)["mlflow"].children()[0].pid) if self.embedded else "-"
        found: dict[str, Any] = {}

        def complete() -> bool:
            found.update(json.loads(self.python(HERE / "roles_script.py", master)))
            return len(found["asgi"]) == 1 and len(found["flask"]) >= 1 and not found["unknown"]

        eventually(complete, "each worker has a role", found)
        return Processes(found["master"], tuple(found["flask"]), tuple(found["asgi"]))

    def signal(self, pid: int, number: signal.Signals) -> None:
        """That signal to a process of the server."""
        self.python(f"import os; os.kill({pid}, {number.value})")

    def alive(self, pid: int) -> bool:
        return self.python(f"import os; print(os.path.exists('/proc/{pid}/stat'))").strip() == "True"

    def restart(self) -> None:
        """Restart the tracking server as an operator would, waiting for its end and its start."""
        if self.embedded:
            argv = [
                f"{self.memory['environment']}/bin/supervisorctl",
                "-s",
                f"unix://{self.run}/supervisor.sock",
                "restart",
                "mlflow:*",
            ]
        else:
            argv = ["docker", "restart", "--time", "60", self.program.container("mlflow")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def ready(self) -> None:
        """Returns once both applications answer through the proxy."""

        def answers() -> bool:
            try:
                return all(
                    self.front("GET", path, timeout=5).status == 200
                    for path in ("/version", "/api/3.0/mlflow/server-info")
                )
            except OSError:
                return False

        eventually(answers, "both applications answer")

    @property
    def scratch(self) -> Path:
        """The embedded server's directory of temporary files."""
        return max(
            (self.program.stack / "data/tmp").glob("server-*"),
            key=lambda directory: directory.stat().st_mtime,
        )

    def temporary_files(self) -> dict[str, int]:
        """Files in the server's temporary directory with their sizes; not what a login keeps there."""
        directory = str(self.scratch) if self.embedded else "/tmp"
        listing = self.python(
            "import json, os\n"
            f"paths = [os.path.join(at, name) for at, _, names in os.walk({directory!r}) for name in names]\n"
            "print(json.dumps({path: os.path.getsize(path) for path in paths if os.path.isfile(path)}))"
        )
        return dict(json.loads(listing))


def eventually(
    happened: Callable[[], bool], promise: str, seen: object = None, deadline: float = DEADLINE
) -> None:
    """Returns once it has happened; fails at the deadline."""
    end = time.monotonic() + deadline
    while not happened():
        assert time.monotonic() < end, f"not within {deadline:.0f} s: {promise}; seen: {seen}"
        time.sleep(0.2)


def asgi_paths() -> list[str]:
    return (ROOT / "deploy/provision_server/web/asgi_paths.txt").read_text().split()
