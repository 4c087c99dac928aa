"""Users and grants, as the server's own store and MLflow's read them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.server import auth
from mlflow.server.auth import sqlalchemy_store
from mlflow.server.auth.entities import User
from mlflow.server.auth.permissions import VALID_RESOURCE_TYPES
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event

from provision_server.auth import login_guard
from provision_server.auth.login_guard import LoginGuard, Verdict
from provision_server.stores.connections import looked_at
from provision_server.stores.fast_users import FastUserStore
from provision_server.stores.statements import Bounds, DatabaseAway
from provision_server.stores.users import UserStore
from tests.server.relay import Relay, relayed
from tests.support.embedded import PASSWORD, SUPERUSER, Postgres, start_postgres

DATABASE = "users"
WORKSPACE = "default"


@dataclass(frozen=True)
class Both:
    """Our store behind a relay, and MLflow's, on one database."""

    ours: Any
    mlflow: Any
    relay: Relay
    server: Postgres


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    for server in start_postgres():
        server.query(f"CREATE DATABASE {DATABASE}")
        with relayed(server.port) as relay:
            mlflow, ours = SqlAlchemyStore(), FastUserStore()
            mlflow.init_db(server.uri(f"{SUPERUSER}:{PASSWORD}", DATABASE))
            ours.init_db(looked_at(relay.uri(DATABASE)), looked_at(relay.uri(DATABASE), at_once=True))
            _fill(mlflow)
            server.query("UPDATE users SET is_admin = NULL WHERE username = 'nobody'", database=DATABASE)
            yield Both(ours, mlflow, relay, server)
            for engine in (mlflow.engine, ours.engine, ours.read_engine):
                engine.dispose()


def _fill(store: Any) -> None:
    for name in ("ana", "Änne 'x' %(name)s", "nobody"):
        store.create_user(name, "a long password")
    store.create_user("root", "a long password", is_admin=True)
    for workspace in (WORKSPACE, "other"):
        for name, grants in {
            "readers": [("experiment", "*", "READ"), ("experiment", "7", "EDIT")],
            "editors": [("experiment", "8", "MANAGE"), ("registered_model", "a 'model'", "READ")],
            "managers": [("workspace", "*", "MANAGE")],
        }.items():
            role = store.create_role(name, workspace)
            for kind, pattern, permission in grants:
                store.add_role_permission(role.id, kind, pattern, permission)
            users = {"readers": ["ana", "root"], "editors": ["ana"], "managers": ["nobody"]}[name]
            for user in users:
                store.assign_role_to_user(store.get_user(user).id, role.id)


NAMES = ["ana", "Änne 'x' %(name)s", "nobody", "root", "not there", "", "a\0b", "ANA", None, 7]


def answer(call: Any) -> Any:
    """What the call answers, or how it fails."""
    try:
        found = call()
    except Exception as error:
        return type(error), getattr(error, "error_code", ""), str(error).partition("\n")[0]
    return vars(found) if isinstance(found, User) else sorted(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_user_is_the_same(both: Both, name: Any) -> None:
    expected = answer(lambda: both.mlflow.get_user(name))
    assert answer(lambda: both.ours.get_user(name)) == expected


@pytest.mark.parametrize("workspace", [WORKSPACE, "other", "none"])
def test_what_a_user_may_is_the_same(both: Both, workspace: str) -> None:
    found = 0
    kinds = sorted(VALID_RESOURCE_TYPES)
    asked = [set(), {"no such type"}, *({kind} for kind in kinds), *map(set, itertools.pairwise(kinds))]
    for name, types in itertools.product(["ana", "nobody", "root"], asked):
        user = both.mlflow.get_user(name).id
        expected = answer(lambda user=user, types=types: both.mlflow.list_grants(user, workspace, types))
        assert (
            answer(lambda user=user, types=types: both.ours.list_grants(user, workspace, types)) == expected
        )
        found += isinstance(expected, list) and len(expected)
    assert bool(found) == (workspace != "none")


def test_each_is_one_statement_that_is_planned_once(both: Both) -> None:
    def ask() -> list[str]:
        with both.relay.counted() as questions:
            both.ours.list_grants(both.ours.get_user("ana").id, WORKSPACE, {"experiment"})
        return [text.partition("_")[2].rpartition("_")[0] for text in questions if text.startswith("EXECUTE")]

    ask()
    assert ask() == ["user", "grants"]
    assert len(both.relay.questions) == 2


def test_a_change_counts_at_once(both: Both) -> None:
    assert both.ours.get_user("root").is_admin
    both.mlflow.update_user("root", is_admin=False)
    assert not both.ours.get_user("root").is_admin
    both.mlflow.create_user("shortly", "a long password")
    assert both.ours.get_user("shortly").username == "shortly"
    both.mlflow.delete_user("shortly")
    with pytest.raises(MlflowException, match="not found"):
        both.ours.get_user("shortly")


@contextmanager
def away(server: Postgres) -> Iterator[None]:
    """The database answers nobody."""
    server.query(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false")
    server.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'")
    try:
        yield
    finally:
        server.query(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS true")


ATTEMPT = login_guard.Attempt("ana", "a long password", b"0" * 16)


@pytest.fixture(params=[UserStore, FastUserStore])
def store(both: Both, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The store that MLflow's login asks, which remembers nobody."""
    made = request.param()
    made.init_db(both.ours.db_uri, looked_at(both.mlflow.db_uri, at_once=True))
    monkeypatch.setattr(auth, "store", made)
    monkeypatch.setattr(auth, "_USER_AUTH_CACHE", {})
    yield made
    made.engine.dispose()
    made.read_engine.dispose()


def test_a_database_that_leaves_while_a_password_is_hashed_refutes_no_login(
    both: Both, monkeypatch: pytest.MonkeyPatch, store: Any
) -> None:
    """MLflow takes its own error for a user who is gone; the guard would remember the login as wrong."""
    guard = LoginGuard(1)
    hashed: Any = vars(sqlalchemy_store)["check_password_hash"]
    with ExitStack() as until:

        def leave(*arguments: str) -> bool:
            until.enter_context(away(both.server))
            return bool(hashed(*arguments))

        monkeypatch.setattr(sqlalchemy_store, "check_password_hash", leave)
        with pytest.raises((DatabaseAway, MlflowException)):
            guard._look(ATTEMPT)
        monkeypatch.setattr(sqlalchemy_store, "check_password_hash", hashed)
        with pytest.raises((DatabaseAway, MlflowException)):
            guard._look(ATTEMPT)
        with pytest.raises(DatabaseAway):
            store.get_user("ana")
    assert guard._look(ATTEMPT) is Verdict.right


def test_a_statement_that_the_database_gives_up_refutes_no_login(both: Both, store: Any) -> None:
    """It is an error in MLflow's form by then, which MLflow takes for a wrong login."""
    guard = LoginGuard(1)
    event.listen(store.read_engine, "handle_error", Bounds(1).failed)
    both.server.query(f"ALTER DATABASE {DATABASE} SET statement_timeout = '100ms'")
    # Of the connections from here on.
    store.read_engine.dispose()
    try:
        with both.server.connect(DATABASE) as other, other.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0; LOCK TABLE users")
            with pytest.raises((DatabaseAway, MlflowException), match="gave this request up"):
                guard._look(ATTEMPT)
    finally:
        both.server.query(f"ALTER DATABASE {DATABASE} RESET statement_timeout")
    assert guard._look(ATTEMPT) is Verdict.right
