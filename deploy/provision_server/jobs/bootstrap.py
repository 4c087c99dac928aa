"""Prepare the stores before the server uses them; run again, it finds everything as it is."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

import psycopg2
from psycopg2 import sql

from provision_server.settings import Fault, Settings
from provision_server.stores import postgres, schema
from provision_server.stores.artifacts import artifact_store
from provision_server.stores.indexes import make_indexes
from provision_server.stores.postgres import libpq_arguments


def bootstrap(settings: Settings) -> None:
    """Prepare roles, databases, bucket, key and schema; raise Fault, which says what is in the way."""
    password = settings.secret("backend_store_password")
    if settings.postgres_admin:
        turn = postgres.connect(
            settings.postgres_admin, settings.secret("postgres_password"), settings.deadline
        )
    else:
        turn = postgres.connect(settings.backend_store, password, settings.deadline, whose=postgres.GIVEN)
    postgres.wait_for_turn(turn, settings.deadline)
    if settings.postgres_admin:
        _make_role_and_databases(settings, password)
    # From here on libpq takes the password from the environment of this process, and no URI holds it.
    os.environ["PGPASSWORD"] = password
    artifact_store(settings).prepare(say)
    _prepare_tracking(settings, password)
    if settings.login:
        _prepare_login(settings, password)
    if settings.indexes:
        _make_indexes(settings, password)
    turn.close()


def say(verb: str, subject: str) -> None:
    """Print one line for one thing done or found."""
    print(f"{verb:<10} {subject}", flush=True)


def _make_role_and_databases(settings: Settings, password: str) -> None:
    admin = postgres.connect(settings.postgres_admin, settings.secret("postgres_password"), settings.deadline)
    wanted = libpq_arguments(settings.backend_store)
    role = wanted["user"]
    if postgres.query(admin, "SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)):
        say("unchanged", f"role {role}")
    else:
        text = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD %s").format(
            sql.Identifier(role)
        )
        postgres.query(admin, text, (password,))
        say("created", f"role {role}")
    databases = [wanted["dbname"]]
    if settings.login:
        databases.append(libpq_arguments(settings.auth_store)["dbname"])
    for name in databases:
        _make_database(admin, name, role)
    admin.close()


def _make_database(admin: Any, name: str, role: str) -> None:
    if postgres.query(admin, "SELECT 1 FROM pg_database WHERE datname = %s", (name,)):
        say("unchanged", f"database {name}")
        return
    names = {"name": sql.Identifier(name), "role": sql.Identifier(role)}
    postgres.query(admin, sql.SQL("CREATE DATABASE {name} OWNER {role}").format(**names))
    postgres.query(admin, sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC").format(**names))
    say("created", f"database {name}")


def _prepare_tracking(settings: Settings, password: str) -> None:
    connection = postgres.connect(settings.backend_store, password, settings.deadline)
    expected, found = schema.head(schema.TRACKING), schema.current(connection, schema.TRACKING)
    if found is not None:
        schema.verify(schema.TRACKING, found, expected)
        say("unchanged", f"tracking schema {found}")
    if found is None or not postgres.query(connection, "SELECT 1 FROM experiments WHERE experiment_id = 0"):
        _create_tracking_schema(settings)
        say("created", f"tracking schema {expected}, experiment 0")
    connection.close()


def _make_indexes(settings: Settings, password: str) -> None:
    """Make our indexes, within the deadline, as `up` waits; a stack is as good without them, only slower."""
    try:
        connection = postgres.connect(settings.backend_store, password, settings.deadline)
        with contextlib.closing(connection), postgres.cancelled_after(connection, settings.deadline):
            make_indexes(connection, say)
    except (psycopg2.Error, Fault) as error:
        said = str(error).strip().splitlines()[0]
        say("failed", f"an index of our own, made at the next start: {said}")


def _create_tracking_schema(settings: Settings) -> None:
    """Have MLflow's store make an empty database's tables, and experiment 0 with its artifact location."""
    quiet_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(settings.backend_store, "mlflow-artifacts:/")
    store.engine.dispose()


def _prepare_login(settings: Settings, password: str) -> None:
    connection = postgres.connect(settings.auth_store, password, settings.deadline)
    expected, found = schema.head(schema.AUTH), schema.current(connection, schema.AUTH)
    if found is not None:
        schema.verify(schema.AUTH, found, expected)
        say("unchanged", f"login schema {found}")
        if postgres.query(connection, "SELECT 1 FROM users WHERE is_admin LIMIT 1"):
            say("unchanged", "an admin login")
            connection.close()
            return
    connection.close()
    quiet_mlflow()
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(settings.auth_store)
    store.create_user("admin", settings.secret("mlflow_admin_password"), is_admin=True)
    store.engine.dispose()
    say("created", f"login schema {expected}, login admin")


def quiet_mlflow() -> None:
    """Turn off MLflow's telemetry, and its line for each of its migrations."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
