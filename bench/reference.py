"""`mlflow server` as MLflow's own Compose file starts it, from MLflow's own requirements."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from uv import find_uv_bin

from bench.rest import Api, basic_authorization
from bench.stores import Stores
from provisioner.assets import mlflow_version
from provisioner.runtimes.embedded.environment import ServerEnvironment
from tests.support.installed import CACHE
from tests.support.ports import free_port
from tests.support.s3_server import KEY, SECRET

PACKAGES = (f"mlflow[auth]=={mlflow_version()}", "psycopg2-binary", "boto3")
# In the environment of each of its processes, so that they are found wherever they went.
MARK = "BENCH_COMPETITOR"
START_SECONDS = 180
GRACE_SECONDS = 20


def reference_environment(ours: ServerEnvironment) -> Path:
    """Return the virtual environment with MLflow as it declares itself; make it when it is not there yet.

    It is compiled, on the same interpreter as our server.
    """
    interpreter = ours.interpreter.executable
    name = hashlib.sha256(f"{PACKAGES} {interpreter} {ours.interpreter.version}".encode()).hexdigest()[:12]
    directory = CACHE / f"reference-{name}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"reference-{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".complete").exists():
            uv = find_uv_bin()
            subprocess.run(
                [uv, "venv", "--quiet", "--clear", "--python", str(interpreter), str(directory)], check=True
            )
            install = [
                uv,
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--python",
                str(directory / "bin/python"),
            ]
            subprocess.run([*install, *PACKAGES], check=True)
            (directory / ".complete").touch()
    return directory


@dataclass
class Reference:
    """One `mlflow server`; its database, role and bucket have its name with `_` for `-`."""

    name: str
    stores: Stores
    environment: Path
    login: bool = False
    workers: int | None = None
    """None: MLflow's defaults, with its job processes. A number: as many workers, and no job processes."""
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    _process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> str:
        return self.name.replace("-", "_")

    @property
    def api(self) -> Api:
        return Api(
            f"http://127.0.0.1:{self.port}", basic_authorization("admin", self.password) if self.login else ""
        )

    def prepare(self) -> None:
        users = [f"{self.database}_users"] if self.login else []
        self.stores.postgres.make_databases(self.database, self.database, *users)
        self.stores.s3.client().create_bucket(Bucket=self.name)
        self._folder.mkdir()

    def start(self) -> float:
        started = time.monotonic()
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                self._argv(), env=self._environ(), cwd=self._folder, stdout=log, stderr=log
            )
        self.api.wait(started + START_SECONDS, self._check)
        return time.monotonic() - started

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(GRACE_SECONDS)
        self._process = None

    def log(self) -> str:
        """Return the last lines of its log."""
        return (self._folder / "log").read_text()[-2000:]

    def remove(self) -> None:
        """Stop it; its files are in the folder of the stores."""
        self.stop()

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _environ(process).get(MARK) == self._mark]

    def server_processes(self) -> list[psutil.Process]:
        """Return the processes that serve: all that it has."""
        return self.processes()

    def add_user(self, name: str) -> str:
        """Add an ordinary user; return the Authorization header of its login."""
        password = secrets.token_hex(16)
        self.api.post("users/create", {"username": name, "password": password})
        return basic_authorization(name, password)

    def _check(self) -> None:
        if self._process and self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.log()}")

    @property
    def _folder(self) -> Path:
        return self.stores.folder / self.name

    @property
    def _mark(self) -> str:
        return str(self._folder)

    def _uri(self, database: str) -> str:
        postgres = self.stores.postgres
        return (
            f"postgresql+psycopg2://{self.database}:{postgres.password}@127.0.0.1:{postgres.port}/{database}"
        )

    def _argv(self) -> list[str]:
        argv = [
            str(self.environment / "bin/mlflow"),
            "server",
            "--backend-store-uri",
            self._uri(self.database),
        ]
        argv += [
            "--artifacts-destination",
            f"s3://{self.name}",
            "--serve-artifacts",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        argv += ["--app-name", "basic-auth"] if self.login else []
        return argv + (["--workers", str(self.workers)] if self.workers else [])

    def _environ(self) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MLFLOW_", "AWS_", "PYTHON", "VIRTUAL_ENV"))
        }
        own = {
            MARK: self._mark,
            "PATH": f"{self.environment / 'bin'}:{kept['PATH']}",
            "MLFLOW_S3_ENDPOINT_URL": self.stores.s3.url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        if self.workers:
            own["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        if self.login:
            file = self._folder / "auth.ini"
            lines = {
                "default_permission": "EDIT",
                "database_uri": self._uri(f"{self.database}_users"),
                "admin_username": "admin",
                "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            }
            file.write_text("[mlflow]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))
            own |= {"MLFLOW_AUTH_CONFIG_PATH": str(file), "MLFLOW_AUTH_ADMIN_PASSWORD": self.password}
            own["MLFLOW_FLASK_SERVER_SECRET_KEY"] = self.password
        return {**kept, **own}


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except (psutil.Error, OSError):
        return {}
