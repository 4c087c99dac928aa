"""Connections to PostgreSQL that wait for nothing but the answer.

They are looked at before each use, in place of being asked `SELECT 1`. The look is at the socket: one that
the database has closed can be read from. Nothing else makes an idle one readable but a note of the server,
after which a new connection does no harm.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Iterator
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import URL, CreateEnginePlugin, make_url
from sqlalchemy.exc import InvalidatePoolError

_NAME = "provision"
_AT_ONCE = "provision_at_once"
_POLL = "provision_poll"
# As libpq names it: after so many seconds of silence the kernel asks, so often, until the connection is lost;
# and so many milliseconds may pass until what was sent is acknowledged.
_ALIVE = {
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "11000",
}


def kept_alive(uri: str) -> str:
    """Return the URI with what makes the kernel notice a database that vanished without a word.

    A container that is killed, or a machine without power, closes nothing: who waits for an answer would wait
    for hours. What the URI says itself stays.
    """
    url = make_url(uri)
    return _text(url.update_query_dict({key: value for key, value in _ALIVE.items() if key not in url.query}))


def looked_at(uri: str, *, at_once: bool = False) -> str:
    """Return the URI for an engine of this process whose connections are looked at before each use.

    With `at_once` each of its statements is a transaction, as it may be for what only reads.
    """
    plugins.register(_NAME, __name__, "Looking")
    added = [("plugin", _NAME), *([(_AT_ONCE, "1")] if at_once else [])]
    return _text(make_url(uri).update_query_pairs(added, append=True))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextlib.contextmanager
def at_once(engine: Any) -> Iterator[Any]:
    """Open a connection of the engine whose statements are a transaction each, with no BEGIN and no COMMIT.

    SQLAlchemy's own AUTOCOMMIT asks the database for its default anew after each use.
    """
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


class Looking(CreateEnginePlugin):
    """SQLAlchemy's plugin of an engine."""

    def __init__(self, url: Any, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        self._at_once = _AT_ONCE in url.query

    def update_url(self, url: Any) -> Any:
        """Return the URL without what is this plugin's alone."""
        return url.difference_update_query([_AT_ONCE])

    def handle_dialect_kwargs(self, dialect_cls: Any, dialect_args: dict[str, Any]) -> None:
        if self._at_once:
            dialect_args["isolation_level"] = "AUTOCOMMIT"

    def handle_pool_kwargs(self, pool_cls: Any, pool_args: dict[str, Any]) -> None:
        """Turn off the question that MLflow asks for."""
        pool_args["pre_ping"] = False

    def engine_created(self, engine: Any) -> None:
        event.listen(engine, "checkout", _look)


def _look(connection: Any, record: Any, _proxy: Any) -> None:
    """Raise InvalidatePoolError, for which SQLAlchemy connects anew, where the database has closed it."""
    poll = record.info.get(_POLL)
    if poll is None:
        poll = record.info[_POLL] = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError
