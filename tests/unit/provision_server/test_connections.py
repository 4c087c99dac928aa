"""What is added to a database's URI, and what stays of it."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import create_engine, make_url

from provision_server.stores.connections import kept_alive, looked_at

URIS = [
    "postgresql+psycopg2://mlflow@postgres:5432/mlflow",
    "postgresql+psycopg2://mlflow@/mlflow?host=%2Fvar%2Frun%2Fx&port=5433",
    "postgresql+psycopg2://ana%40corp@[::1]:5432/a%20b?sslmode=verify-full&options=-c%20x%3D1",
]


@pytest.mark.parametrize("uri", URIS)
def test_all_that_a_uri_says_stays(uri: str) -> None:
    before, after = make_url(uri), make_url(looked_at(kept_alive(uri), at_once=True))
    for name in ("drivername", "username", "host", "port", "database"):
        assert getattr(before, name) == getattr(after, name)
    assert {**after.query, **before.query} == dict(after.query)


def test_what_a_uri_says_of_a_silent_database_counts() -> None:
    uri = kept_alive(f"{URIS[0]}?keepalives_idle=60")
    assert make_url(uri).query["keepalives_idle"] == "60"
    assert make_url(uri).query["tcp_user_timeout"] == "11000"


@pytest.mark.parametrize("uri", URIS)
def test_the_driver_gets_what_is_libpqs_and_nothing_of_ours(uri: str) -> None:
    engine = create_engine(looked_at(kept_alive(uri), at_once=True), pool_pre_ping=True)
    _, arguments = engine.dialect.create_connect_args(engine.url)
    assert not [name for name in arguments if "provision" in name or name == "plugin"]
    assert arguments["keepalives_idle"] == "5"
    assert engine.pool._pre_ping is False
