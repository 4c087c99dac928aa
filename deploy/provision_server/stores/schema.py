"""The schema of MLflow's databases: its revision there, and the one that the installed MLflow expects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from provision_server.settings import Fault
from provision_server.stores.postgres import query

_REVISION = re.compile(r"^revision\b[^=\n]*=\s*[\"'](\w+)[\"']", re.MULTILINE)
_BEFORE = re.compile(r"^down_revision\b[^=\n]*=\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Schema:
    """One of MLflow's two schemas: where its migrations are, and the table that holds its revision."""

    name: str
    migrations: str
    version_table: str
    first_table: str


TRACKING = Schema("tracking", "store/db_migrations/versions", "alembic_version", "experiments")
AUTH = Schema("login", "server/auth/db/migrations/versions", "alembic_version_auth", "users")


def mlflow_package() -> Path:
    """Return the directory of the installed MLflow; raise Fault when there is none.

    Importing MLflow takes seconds.
    """
    spec = find_spec("mlflow")
    if spec is None or not spec.origin:
        raise Fault("mlflow is not installed here")
    return Path(spec.origin).parent


def head(schema: Schema) -> str:
    """Return the revision that the installed MLflow expects.

    Read it from MLflow's migration files. Raise Fault when MLflow is not installed, or its migrations do not
    have one head.
    """
    revisions, before = set(), set()
    for path in (mlflow_package() / schema.migrations).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if found := _REVISION.search(text):
            revisions.add(found[1])
            down = _BEFORE.search(text)
            before |= set(re.findall(r"\w{6,}", down[1])) if down else set()
    heads = revisions - before
    if len(heads) != 1:
        raise Fault(f"MLflow's {schema.name} migrations have {len(heads)} heads; one was expected")
    return heads.pop()


def current(connection: Any, schema: Schema) -> str | None:
    """Return the revision of the database, None when it has no such schema yet.

    Raise Fault when it has tables of MLflow but no revision.
    """
    tables = {
        row[0]
        for row in query(connection, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    }
    if schema.version_table in tables:
        rows = query(connection, f"SELECT version_num FROM {schema.version_table}")  # noqa: S608
        if rows:
            return str(rows[0][0])
    if schema.first_table in tables:
        raise Fault(
            f"the {schema.name} database has tables of MLflow but no schema revision; "
            "it was made by other means"
        )
    return None


def verify(schema: Schema, found: str, expected: str) -> None:
    """Raise Fault when the database is of another MLflow than the installed one; migrate nothing."""
    if found != expected:
        raise Fault(
            f"the {schema.name} database has schema revision {found}, this MLflow expects {expected}: "
            "it was made by another version of MLflow; "
            "go back to that version, or migrate it after a backup. Nothing was changed"
        )
