"""The embedded runtime's programs for tests: its environment, made once, and a PostgreSQL of a test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from provisioner.output import Recorder, Reporter
from provisioner.runtimes.embedded.environment import ServerEnvironment, make_environment, shipped_recipe
from provisioner.runtimes.embedded.interpreter import choose_interpreter
from provisioner.runtimes.embedded.service_user import ServiceUser, current_account, make_account
from tests.support.installed import DATA
from tests.support.ports import free_port

SUPERUSER, PASSWORD = "postgres", "a-superuser-of-tests"


def server_environment(reporter: Reporter | None = None) -> tuple[ServerEnvironment, ServiceUser]:
    """The environment of the embedded services, made if it is not there, and whom they run as."""
    reporter = reporter or Recorder()
    DATA.mkdir(parents=True, exist_ok=True, mode=0o755)
    account = make_account(current_account(), DATA, reporter)
    environment = ServerEnvironment(DATA, shipped_recipe(), choose_interpreter(account, DATA))
    make_environment(environment, account, reporter)
    return environment, account


@dataclass(frozen=True)
class Postgres:
    """A running server on a unix socket and a loopback port; its superuser is `SUPERUSER` with `PASSWORD`."""

    socket: Path
    port: int

    def uri(self, user: str, database: str) -> str:
        """As the stack's services get it, without a password."""
        return f"postgresql+psycopg2://{user}@/{database}?host={self.socket}&port={self.port}"

    def connect(
        self, database: str = "postgres", user: str = SUPERUSER, password: str = PASSWORD
    ) -> contextlib.closing[Any]:
        """A connection as that user, until the caller is done."""
        return contextlib.closing(
            psycopg2.connect(
                host=str(self.socket), port=self.port, dbname=database, user=user, password=password
            )
        )

    def query(
        self, text: str, database: str = "postgres", user: str = SUPERUSER, password: str = PASSWORD
    ) -> list[tuple[Any, ...]]:
        """The rows of the statement, as that user."""
        with self.connect(database, user, password) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if cursor.description else []


def start_postgres() -> Iterator[Postgres]:
    """A fresh server, until the caller is done."""
    environment, account = server_environment()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if account.dropped:
        for path in (folder, secret):
            os.chown(path, account.uid, account.gid)
    run_as: dict[str, Any] = (
        {"user": account.uid, "group": account.gid, "extra_groups": []} if account.dropped else {}
    )
    run_as |= {"env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, "cwd": folder}
    initdb = [
        environment.binaries.path("initdb"),
        "-D",
        str(folder / "data"),
        "-U",
        SUPERUSER,
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
    ]
    subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, **run_as)
    port = free_port()
    settings = [
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        f"port={port}",
        "-c",
        f"unix_socket_directories={folder}",
        "-c",
        "fsync=off",
    ]
    argv = [environment.binaries.path("postgres"), "-D", str(folder / "data"), *settings]
    with (
        open(f"{folder}.log", "wb") as log,
        subprocess.Popen(argv, stdout=log, stderr=log, **run_as) as process,
    ):
        try:
            server = Postgres(folder, port)
            _wait(server)
            yield server
        finally:
            # At once: a test that failed may have left connections open.
            process.send_signal(signal.SIGINT)
            process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)
            Path(f"{folder}.log").unlink()


def _wait(server: Postgres) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(psycopg2.OperationalError):
            server.query("SELECT 1")
            return
        time.sleep(0.05)
    raise AssertionError("PostgreSQL did not start")
