"""What a request may ask of the database."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from flask import Flask
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DataError

from provision_server.stores import postgres, statements
from provision_server.stores.statements import (
    MANY_JOINS,
    MANY_RESULTS,
    MOST_CONDITIONS,
    MOST_JOINS,
    MOST_RESULTS,
    SEARCHES,
    SECONDS,
    Bounds,
    bounded_pages,
)

LIMITS = (Path(__file__).parents[3] / "docs/explanation/limits.md").read_text()


def test_the_page_about_limits_has_these() -> None:
    for text in (
        f"| {MOST_JOINS}; with more than {MANY_JOINS} ",
        f" in all {MOST_CONDITIONS} of any kind;",
        f"| {SECONDS} s, also",
        f"| {MOST_RESULTS:,}; those with more than {MANY_RESULTS:,} take turns |",
    ):
        assert text in LIMITS


class Connection:
    """What the bounds know of one."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = {}


def failure(original: object, connection: Connection | None = None) -> SimpleNamespace:
    """What SQLAlchemy tells of a failed statement."""
    error = DataError("SELECT a FROM b", {"a": 1}, Exception("out of range"), code="9h9h")
    return SimpleNamespace(connection=connection, original_exception=original, sqlalchemy_exception=error)


def joining(count: int) -> str:
    return "SELECT 1 FROM a" + " JOIN b ON true" * count


def test_a_statement_joins_only_so_many_tables() -> None:
    bounds = Bounds(1)
    for text in (joining(MOST_JOINS), joining(MOST_JOINS - 1) + " WHERE EXISTS (SELECT 1)"):
        connection = Connection()
        bounds.before(connection, None, text)
        bounds.after(connection)
    for text in (joining(MOST_JOINS + 1), joining(MOST_JOINS) + " WHERE EXISTS (SELECT 1)"):
        with pytest.raises(MlflowException, match="more than 50 conditions") as refusal:
            bounds.before(Connection(), None, text)
        assert refusal.value.get_http_status_code() == 400


@pytest.mark.parametrize("end", ["after", "failed", "next"])
def test_statements_with_many_joins_take_turns(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(statements, "PATIENCE", 0.05)
    bounds, first, second = Bounds(1), Connection(), Connection()
    bounds.before(first, None, joining(MANY_JOINS + 1))
    bounds.before(second, None, joining(MANY_JOINS))
    with pytest.raises(MlflowException, match="try again") as refusal:
        bounds.before(second, None, joining(MANY_JOINS + 1))
    assert refusal.value.get_http_status_code() == 503
    if end == "after":
        bounds.after(first)
    elif end == "failed":
        bounds.failed(failure(ValueError(), first))
    else:
        bounds.before(first, None, "ROLLBACK")
    bounds.before(second, None, joining(MANY_JOINS + 1))
    bounds.after(second)


def test_what_the_database_gives_up_is_said_in_words() -> None:
    bounds = Bounds(1)
    for code in ("57014", "53200"):
        told = bounds.failed(failure(SimpleNamespace(pgcode=code)))
        assert isinstance(told, MlflowException)
        assert told.get_http_status_code() == 400
        assert "more than 60 s" in str(told)
    assert bounds.failed(failure(SimpleNamespace(pgcode="23505"))) is None
    told = bounds.failed(failure(ValueError("A string literal cannot contain NUL (0x00) characters.")))
    assert isinstance(told, MlflowException)
    assert (told.get_http_status_code(), "NUL" in str(told)) == (400, True)


def test_the_text_of_a_statement_is_in_no_error() -> None:
    said = failure(of_value("bigint out of range"))
    assert "SELECT a FROM b" in str(said.sqlalchemy_exception)
    assert Bounds(1).failed(said) is None
    assert (
        str(said.sqlalchemy_exception)
        == "The database cannot take a value of this request: bigint out of range"
    )


def of_value(message: str) -> SimpleNamespace:
    return SimpleNamespace(pgcode="22003", diag=SimpleNamespace(message_primary=message))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("23505", "already"),
        ("23503", "not there"),
        ("23502", "missing"),
        ("40P01", "deadlock"),
        ("42883", "its type"),
    ],
)
def test_what_the_database_says_has_no_name_of_a_table_or_type(code: str, words: str) -> None:
    error = failure(SimpleNamespace(pgcode=code))
    assert Bounds(1).failed(error) is None
    assert words in str(error.sqlalchemy_exception)


def test_a_value_that_the_driver_does_not_know_is_said_in_words() -> None:
    error = failure(psycopg2.ProgrammingError("can't adapt type 'dict'"))
    Bounds(1).failed(error)
    assert str(error.sqlalchemy_exception) == "The database cannot take a value of this request, or its type."


def test_where_a_database_is_that_does_not_answer_is_for_the_log_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = failure(psycopg2.OperationalError('connection to server on socket "/run/x/.s.PGSQL.5432" failed'))
    Bounds(1).failed(error)
    assert str(error.sqlalchemy_exception) == "The database did not answer this request; try again."
    assert "/run/x/.s.PGSQL.5432" in capsys.readouterr().err


def test_every_engine_has_the_bounds() -> None:
    """In a process of its own, since they stay."""
    script = """
import sys
import sqlalchemy
from provision_server.stores.statements import bounded_statements
early = sqlalchemy.create_engine("sqlite://")
bounded_statements(1)
for engine in (early, sqlalchemy.create_engine("sqlite://")):
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
        try:
            connection.execute(sqlalchemy.text("SELECT 1" + " JOIN x" * 60))
        except Exception as error:
            print(type(error).__name__)
"""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["MlflowException"] * 2


def test_a_page_has_only_so_many_results() -> None:
    flask = Flask("test")
    bounded_pages(flask)
    flask.add_url_rule("/api/2.0/mlflow/runs/search", view_func=lambda: "asked", methods=["GET", "POST"])
    flask.add_url_rule("/api/2.0/mlflow/metrics/get-history", "history", view_func=lambda: "asked")
    client = flask.test_client()
    path = "/api/2.0/mlflow/runs/search"
    wanted: object
    for wanted in (1, MOST_RESULTS, str(MOST_RESULTS), -1, None, "x", [1], {}, True):
        assert client.post(path, json={"max_results": wanted}).text == "asked"
        assert client.get(path, query_string={"max_results": wanted}).text == "asked"
    for text in ("", "[]", "{", "null", "1"):
        assert client.post(path, data=text, content_type="application/json").text == "asked"
    for reply in (
        client.post(path, json={"max_results": MOST_RESULTS + 1}),
        client.post(path, json={"max_results": str(MOST_RESULTS + 1)}),
        client.post(path, data=f'{{"max_results": {MOST_RESULTS + 1}}}', content_type="text/plain"),
        client.get(path, query_string={"max_results": 50_000}),
        # As protobuf's JSON may spell it.
        client.post(path, json={"maxResults": MOST_RESULTS + 1}),
    ):
        assert reply.status_code == 400
        assert reply.json is not None
        assert reply.json["error_code"] == "INVALID_PARAMETER_VALUE"
        assert "next_page_token" in reply.json["message"]
    assert client.get("/api/2.0/mlflow/metrics/get-history?max_results=50000").text == "asked"


def test_no_search_has_more_conditions_than_can_be_composed() -> None:
    """MLflow composes them before any is asked: of 5,000 keys it made a statement of gigabytes."""
    flask = Flask("test")
    bounded_pages(flask)
    flask.add_url_rule("/api/2.0/mlflow/runs/search", view_func=lambda: "asked", methods=["GET", "POST"])
    client = flask.test_client()
    path = "/api/2.0/mlflow/runs/search"
    for conditions, keys in ((MOST_CONDITIONS, 0), (0, MOST_CONDITIONS), (60, 40)):
        order = [f"metrics.m{number}" for number in range(keys)]
        for more in (0, 1):
            text = " AND\n".join(f"metrics.m{number} > 1" for number in range(conditions + more))
            for reply in (
                client.post(path, json={"filter": text, "order_by": order}),
                client.post(path, json={"filter": text.lower(), "orderBy": order}),
                client.get(path, query_string={"filter": text, "order_by": order}),
            ):
                assert reply.status_code == (400 if more else 200)
                assert not more or "more than 100 conditions" in reply.text
    for odd in ({"order_by": "x" * 500}, {"order_by": None}, {"filter": ["a"] * 500}, {"filter": None}):
        assert client.post(path, json=odd).text == "asked"


def test_large_pages_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "PATIENCE", 0.05)
    flask = Flask("test")
    bounded_pages(flask)
    client = flask.test_client()
    path = "/api/2.0/mlflow/runs/search"
    others: list[Any] = []

    @flask.post(path)
    def search() -> str:
        if not others:
            others.append(None)
            # Each request has a thread of its own.
            with ThreadPoolExecutor(1) as pool:
                others[:] = pool.map(
                    lambda size: flask.test_client().post(path, json={"max_results": size}),
                    (MANY_RESULTS + 1, MANY_RESULTS),
                )
        return "asked"

    for _ in range(2):
        others.clear()
        assert client.post(path, json={"max_results": MOST_RESULTS}).text == "asked"
        busy, small = others
        assert (busy.status_code, busy.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert small.text == "asked"


@pytest.mark.parametrize(
    ("path", "is_search"),
    [
        ("/api/2.0/mlflow/runs/search", True),
        ("/ajax-api/2.0/mlflow/experiments/search-datasets", True),
        ("/graphql", True),
        ("/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", True),
        ("/api/3.0/mlflow/traces/metrics", True),
        ("/api/2.0/mlflow/runs/log-metric", False),
        ("/api/2.0/mlflow/runs/get", False),
        ("/api/2.0/mlflow-artifacts/artifacts", False),
    ],
)
def test_searches_are_known_by_their_path(path: str, is_search: bool) -> None:
    assert bool(SEARCHES.fullmatch(path)) is is_search


def test_a_pooler_that_takes_no_options_is_asked_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PGOPTIONS", statements.OPTIONS)
    asked: list[str | None] = []

    def connect(**_: Any) -> Any:
        asked.append(os.environ.get("PGOPTIONS"))
        if asked[-1]:
            raise psycopg2.OperationalError(
                "connection failed: FATAL:  unsupported startup parameter: options"
            )
        return SimpleNamespace(autocommit=False)

    monkeypatch.setattr(psycopg2, "connect", connect)
    assert postgres.connect("postgresql+psycopg2://u@h/d", "", 1).autocommit
    assert asked == [statements.OPTIONS, None]
    assert "no time limit" in capsys.readouterr().out
