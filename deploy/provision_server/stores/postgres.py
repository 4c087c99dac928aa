"""PostgreSQL as bootstrap, server and probe meet it: connect with a deadline, say clearly what is wrong."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED as READ_COMMITTED

from provision_server.settings import Fault

# Errors that pass while a server starts; a wrong password or a missing database does not.
_PASSING = (
    "could not connect",
    "Connection refused",
    "No such file or directory",
    "starting up",
    "shutting down",
    # After a crash, while what was written is read again.
    "accepting connections",
    "in recovery mode",
    "could not translate host name",
    "timeout expired",
    "server closed the connection",
    "Network is unreachable",
)

OURS = "the secrets are not those that this data was made with; put the old secret files back from a backup"
# One that never worked is replaced (`provisioner/stack/secrets.py`).
GIVEN = (
    "the database refuses what secrets/backend_store_password has; write the right one into that file, "
    "or, if none has worked yet, set PGPASSWORD for `provision up`"
)

# As PgBouncer says it, unless its `ignore_startup_parameters` has `options`.
_NO_OPTIONS = "unsupported startup parameter"

# An address that nobody has any more answers nothing.
CONNECT_SECONDS = 5

# Names the lock of bootstrap; each database has its own.
_TURN = 0x70726F76


def libpq_arguments(uri: str) -> dict[str, Any]:
    """Return psycopg2's keywords for a SQLAlchemy URI without a password, as SQLAlchemy would use them."""
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    _, arguments = url.get_dialect()().create_connect_args(url)
    return dict(arguments)


def connect(
    uri: str,
    password: str,
    deadline: float,
    wait_for: Callable[[str], bool] = lambda _: False,
    whose: str = OURS,
) -> Any:
    """Open an autocommitting connection.

    Raise Fault at the deadline (seconds), or at once for an error that time does not fix. `whose` says what
    to do about a wrong password.
    """
    arguments = libpq_arguments(uri)
    named = f"{arguments.get('user', '')} in {arguments.get('dbname', '')} at {arguments.get('host', '')}"
    end = time.monotonic() + deadline
    while True:
        try:
            connection = psycopg2.connect(
                **arguments, password=password, connect_timeout=CONNECT_SECONDS, application_name="provision"
            )
        except psycopg2.OperationalError as error:
            seen = str(error).strip().splitlines()[-1]
            if _NO_OPTIONS in seen and os.environ.pop("PGOPTIONS", ""):
                print(
                    "server: the pooler before PostgreSQL takes no options: statements have no time limit",
                    flush=True,
                )
                continue
            if "password authentication failed" in seen and not wait_for(seen):
                raise Fault(f"wrong password for {named}: {whose}") from None
            if not (any(text in str(error) for text in _PASSING) or wait_for(seen)):
                raise Fault(f"{named}: {seen}") from None
            if time.monotonic() > end:
                raise Fault(f"no connection as {named} within {deadline:.0f} s: {seen}") from None
            # A login that is refused is a line in PostgreSQL's log.
            time.sleep(0.5 if wait_for(seen) else 0.05)
        else:
            connection.autocommit = True
            return connection


def query(connection: Any, text: Any, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Run the statement; return its rows, [] when it gives none."""
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        return list(cursor.fetchall()) if cursor.description else []


@contextlib.contextmanager
def cancelled_after(connection: Any, seconds: float) -> Iterator[None]:
    """Run the block; after so many seconds its statement is cancelled, which raises QueryCanceled.

    A pooler would hand a session's own time limit on to others.
    """
    timer = threading.Timer(seconds, connection.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def wait_for_turn(connection: Any, deadline: float) -> None:
    """Wait for any other bootstrap on these stores, and keep others out until the connection is closed.

    Raise Fault when another one is still at work at the deadline. A `provision up` that was killed leaves its
    bootstrap at work, and the next `up` starts another.
    """
    # A transaction keeps its session, also behind a pooler;
    # a lock of the session would stay with whoever comes next.
    connection.autocommit = False
    # By others it would hold a snapshot, for which the making of an index waits.
    connection.isolation_level = READ_COMMITTED
    try:
        query(connection, "SELECT set_config('lock_timeout', %s, true)", (f"{deadline:.0f}s",))
        query(connection, "SELECT pg_advisory_xact_lock(%s)", (_TURN,))
    except psycopg2.errors.LockNotAvailable:
        raise Fault(
            f"another bootstrap has been at work on these stores for more than {deadline:.0f} s; "
            "let it end, then try again"
        ) from None
