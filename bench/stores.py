"""The one real PostgreSQL and S3 server that all contenders use; a database and a bucket for each."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from provisioner.output import TerminalReporter
from provisioner.runtimes.embedded.environment import ServerEnvironment
from provisioner.runtimes.embedded.service_user import ServiceUser
from tests.support.embedded import server_environment
from tests.support.installed import DATA
from tests.support.ports import free_port
from tests.support.s3_server import S3Server, start_minio

SUPERUSER = "postgres"
# PostgreSQL's defaults, but for this: the servers of all contenders are connected at once.
MAX_CONNECTIONS = 400
# So often in a row nothing may be at work: a server also works between its transactions.
IDLE_LOOKS = 6


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL with its default settings, and its superuser's password."""

    port: int
    password: str

    def connect(self, database: str = "postgres") -> Any:
        """Open a connection that commits each statement."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=SUPERUSER, password=self.password, dbname=database
        )
        connection.autocommit = True
        return connection

    def query(self, database: str, text: str) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows, [] when it gives none."""
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else []

    def wait_until_idle(self, database: str) -> None:
        """Wait until no session of the database has been at work for a moment.

        Raise RuntimeError after a minute.
        """
        text = (
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid() "
            "AND state <> 'idle'"
        )
        end, quiet = time.monotonic() + 60, 0
        while quiet < IDLE_LOOKS:
            if time.monotonic() > end:
                raise RuntimeError(f"the sessions of {database} are still at work a minute after the load")
            quiet = 0 if self.query("postgres", text)[0][0] else quiet + 1
            time.sleep(0.05)

    def make_databases(self, role: str, *names: str) -> None:
        """Make a new role with the superuser's password, and new databases that it owns."""
        self.query("postgres", f"CREATE ROLE {role} LOGIN PASSWORD '{self.password}'")
        for name in names:
            self.query("postgres", f"CREATE DATABASE {name} OWNER {role}")


@dataclass(frozen=True)
class Stores:
    """Both stores at that address, the environment that ours runs from, and a folder.

    The account of its services can reach the folder.
    """

    postgres: Postgres
    s3: S3Server
    environment: ServerEnvironment
    folder: Path
    address: str


@contextlib.contextmanager
def start_stores(runtime: str = "embedded") -> Iterator[Stores]:
    """Run the block with the stores where that runtime's services reach them; remove them afterwards."""
    address = "127.0.0.1" if runtime == "embedded" else _bridge()
    environment, account = server_environment(TerminalReporter())
    DATA.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder = Path(tempfile.mkdtemp(dir=DATA, prefix="bench-"))
    folder.chmod(0o755)
    try:
        with (
            _start_postgres(environment, account, folder / "postgres", address) as postgres,
            contextlib.contextmanager(start_minio)(address=address) as s3,
        ):
            yield Stores(postgres, s3, environment, folder, address)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bridge() -> str:
    """Return this machine's address for containers."""
    argv = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def _start_postgres(
    environment: ServerEnvironment, account: ServiceUser, folder: Path, address: str
) -> Iterator[Postgres]:
    folder.mkdir(mode=0o700)
    password_file = folder / "password"
    postgres = Postgres(free_port(), secrets.token_hex(16))
    password_file.write_text(postgres.password)
    if account.dropped:
        for path in (folder, password_file):
            shutil.chown(path, account.uid, account.gid)
    identity: dict[str, Any] = (
        {"user": account.uid, "group": account.gid, "extra_groups": []} if account.dropped else {}
    )
    data = folder / "data"
    initdb = [
        environment.binaries.path("initdb"),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
    ]
    initdb += ["--auth=scram-sha-256", "--locale-provider=builtin", "--locale=C.UTF-8", "--encoding=UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **identity)
    with open(data / "pg_hba.conf", "a", encoding="utf-8") as rules:
        rules.write("host all all 172.16.0.0/12 scram-sha-256\n")
    settings = {
        "listen_addresses": f"127.0.0.1,{address}" if address != "127.0.0.1" else address,
        "port": postgres.port,
        "unix_socket_directories": "",
        "max_connections": MAX_CONNECTIONS,
    }
    argv = [environment.binaries.path("postgres"), "-D", str(data)]
    for key, value in settings.items():
        argv += ["-c", f"{key}={value}"]
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, **identity) as process,
    ):
        try:
            _wait(postgres, process)
            yield postgres
        finally:
            process.send_signal(2)  # SIGINT: does not wait for clients
            process.wait(60)


def _wait(postgres: Postgres, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(psycopg2.OperationalError):
            postgres.query("postgres", "SELECT 1")
            return
        time.sleep(0.05)
    raise RuntimeError("PostgreSQL did not start")
