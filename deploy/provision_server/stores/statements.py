"""What a request may ask of the database: a statement's time, the tables it joins, and how much comes of it.

MLflow joins a table for each condition of a filter and each key of an order; PostgreSQL needs memory by the
square of their number to find the best way through them, and minutes, also for a client that has left.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Sized
from typing import Any

from provision_server.auth.rate_limit import Locks

MOST_JOINS = 50
# Of any kind: MLflow composes them before any is asked, which takes time and memory by their square.
MOST_CONDITIONS = 100
# Statements with more joins than this take turns.
MANY_JOINS = 10
PATIENCE = 10.0
MOST_RESULTS = 10_000
# Pages of more take turns: one of 10,000 runs with 20 metrics each takes 500 MB while it is made.
MANY_RESULTS = 1_000
SECONDS = 60
# As libpq reads them. PostgreSQL weighs every order of so few joins at a time: 50 conditions take 116 MB and
# 1.2 s where its default of 8 takes 834 MB and 8 s. What is prepared (`prepared.py`) is planned once, and not
# for each page's size.
OPTIONS = f"-c statement_timeout={SECONDS}s -c join_collapse_limit=4 -c plan_cache_mode=force_generic_plan"
# Calls that cost what they ask for.
SEARCHES = re.compile(r".*/(?:search|graphql|get-history|traces/metrics)[^/]*", re.DOTALL)
# Cancelled, which is what becomes of one that takes too long; out of memory.
_TOO_MUCH = {"57014", "53200"}
# What MLflow's answers say of the others, by their code;
# of a deadlock it looks for the word, and tries again.
_SAID = {
    "23502": "A value that has to be there is missing.",
    "23503": "The request names something that is not there, or that others still need.",
    "23505": "There is one of this name or key already.",
    "40P01": "Two requests waited for each other in the database, a deadlock; try again.",
}
# No connection, no resources, an operator's intervention, the system.
_AWAY = {"08", "53", "57", "58"}
DID_NOT_ANSWER = "The database did not answer this request; try again."
_JOIN = re.compile(r" JOIN | EXISTS \(")
_CAPITAL = re.compile("[A-Z]")
# Those within quotes count too: an attacker could hide others there.
_AND = re.compile(r"\band\b", re.IGNORECASE)
_PLACE = "provision_place"


def bounded_statements(places: int) -> None:
    """Refuse larger statements in every engine of this process and its forks.

    Run so many large ones at a time.
    """
    from sqlalchemy import Engine, event

    bounds = Bounds(places)
    event.listen(Engine, "before_cursor_execute", bounds.before)
    event.listen(Engine, "after_cursor_execute", bounds.after)
    event.listen(Engine, "handle_error", bounds.failed)


def bounded_pages(flask: Any) -> None:
    """Have the Flask application refuse larger pages of a search.

    Call this after it has its own check of a login, or unauthenticated clients would take turns too.
    """
    pages = _Pages()
    flask.before_request(pages.begin)
    flask.teardown_request(pages.end)


def _error(message: str, code: str = "INVALID_PARAMETER_VALUE") -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    return MlflowException(message, error_code=ErrorCode.Value(code))


def _turn(places: Locks, otherwise: str) -> contextlib.ExitStack:
    """Take one of the places until the result is closed.

    Raise the error that says `otherwise` when none gets free.
    """
    turn = contextlib.ExitStack()
    if not turn.enter_context(places.any(PATIENCE)):
        turn.close()
        raise _error(otherwise, "TEMPORARILY_UNAVAILABLE")
    return turn


def said_of(error: Any) -> str:
    """Return in words what the database's driver said, without names of tables, types and files."""
    code = getattr(error, "pgcode", None) or ""
    if code.startswith("22"):
        # About a value, which is the client's.
        return f"The database cannot take a value of this request: {error.diag.message_primary}"
    if code in _SAID:
        return _SAID[code]
    if type(error).__name__ in {"OperationalError", "InterfaceError", "InternalError"} or code[:2] in _AWAY:
        # Of the log alone.
        print(
            f"server: the database: {type(error).__name__}: {str(error).strip()}", file=sys.stderr, flush=True
        )
        return DID_NOT_ANSWER
    return "The database cannot take a value of this request, or its type."


class DatabaseAway(Exception):
    """The database did not answer: an error that MLflow takes for nothing else, as it does its own ones."""


def is_of_database_away(error: object) -> bool:
    """Return whether the database could not be reached, left, or gave up.

    MLflow says so of a statement, and not where it then gives the rest of a transaction up.
    """
    import psycopg2
    from sqlalchemy.exc import InterfaceError, OperationalError

    return isinstance(error, DatabaseAway | InterfaceError | OperationalError | psycopg2.OperationalError)


def check_conditions(filter_string: object, order_by: object) -> None:
    """Raise MLflow's error for a filter and an order of more conditions and keys than can be composed."""
    # A list of JSON's, or one of protobuf's.
    count = len(order_by) if isinstance(order_by, Sized) and not isinstance(order_by, str) else 0
    if filter_string and isinstance(filter_string, str):
        count += len(_AND.findall(filter_string)) + 1
    if count > MOST_CONDITIONS:
        raise _too_many(MOST_CONDITIONS)


def _too_many(most: int) -> Exception:
    return _error(
        f"The filter and the order have more than {most} conditions and keys together; ask for less at once."
    )


class Bounds:
    """SQLAlchemy's events, of every connection."""

    def __init__(self, places: int) -> None:
        self._places = Locks(places)

    def before(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        """Refuse a statement that joins too many tables; let one that joins many wait for its turn."""
        self._leave(connection)
        joins = len(_JOIN.findall(statement))
        if joins > MOST_JOINS:
            raise _too_many(MOST_JOINS)
        if joins > MANY_JOINS:
            connection.info[_PLACE] = (
                _turn(self._places, "Others search with many conditions; try again."),
                time.monotonic(),
            )

    def after(self, connection: Any, *_: Any) -> None:
        """Let the next one have its turn, after a pause as long as this one took, at most PATIENCE / 2."""
        if connection.info.get(_PLACE):
            # As long again the place does nothing: others need the processor.
            time.sleep(min(PATIENCE / 2, time.monotonic() - connection.info[_PLACE][1]))
        self._leave(connection)

    def failed(self, context: Any) -> Exception | None:
        """Return the error for a statement that took too much, or has a value that the database cannot take.

        Return None for others, whose own error stays. Remove the statement's text from each error.
        """
        if context.connection is not None:
            self._leave(context.connection)
        if error := context.sqlalchemy_exception:
            # MLflow puts the error's text into its answers:
            # what was asked of the database, and how, is nobody's business.
            error.statement = error.code = None
            error.args = (said_of(context.original_exception),)
        if isinstance(context.original_exception, ValueError):
            return _error(f"The database cannot take a value of this request: {context.original_exception}")
        if getattr(context.original_exception, "pgcode", None) not in _TOO_MUCH:
            return None
        return _error(
            f"The database gave this request up: it took more than {SECONDS} s, or too much memory. "
            "Ask for less at once."
        )

    def _leave(self, connection: Any) -> None:
        if connection.info.get(_PLACE):
            connection.info.pop(_PLACE)[0].close()


class _Pages:
    """Flask's events, of every request."""

    def __init__(self) -> None:
        self._large = Locks(1)

    def begin(self) -> Any:
        """Refuse a page of too many results, or with too many conditions; let one of many results wait."""
        from flask import g, request
        from mlflow.server.handlers import catch_mlflow_exception

        if "/search" not in request.path:
            return None

        @catch_mlflow_exception  # type: ignore[untyped-decorator, unused-ignore]
        def take_turn() -> Any:
            search = _asked(request)
            check_conditions(search.get("filter"), search.get("order_by"))
            wanted = _number(search.get("max_results"))
            if wanted <= MANY_RESULTS:
                return None
            if wanted > MOST_RESULTS:
                raise _error(
                    f"max_results is {wanted}; at most {MOST_RESULTS:,} come at once, "
                    "and next_page_token leads to the others."
                )
            g.provision_turn = _turn(
                self._large, f"Another search for more than {MANY_RESULTS:,} results is under way; try again."
            )

        return take_turn()

    def end(self, _: Any) -> None:
        """Hand the turn on to the next request."""
        from flask import g

        if turn := g.pop("provision_turn", None):
            turn.close()


def _asked(request: Any) -> dict[str, Any]:
    """Return what a search asks for, by protobuf's own names, as MLflow will read it."""
    body = request.get_json(force=True, silent=True)
    if isinstance(body, dict):
        # Protobuf takes `maxResults` for `max_results`, too.
        return {_CAPITAL.sub(lambda found: f"_{found[0].lower()}", key): value for key, value in body.items()}
    one = {name: request.args.get(name) for name in ("filter", "max_results")}
    return one | {"order_by": request.args.getlist("order_by")}


def _number(value: object) -> int:
    """Return the number that a request has; 0 where it has none."""
    text = str(value)
    return int(text) if text.isdecimal() else 0
