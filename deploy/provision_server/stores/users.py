"""The users' store: MLflow's own, which takes no database that is away for a user who is gone.

It is for any MLflow; `fast_users.py` has the one for the MLflow that it was written against.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

from provision_server.stores.statements import DatabaseAway, is_of_database_away


class UserStore(SqlAlchemyStore):  # type: ignore[misc, unused-ignore]
    """MLflow's store of users and grants, of which a login is never refused since the database is away.

    MLflow's login takes each of its own errors for a user who is not there.
    """

    @staticmethod
    def _get_user(session: Any, username: str) -> Any:
        with _told_apart():
            return SqlAlchemyStore._get_user(session, username)

    def get_user(self, username: str) -> Any:
        """Return the user; raise MlflowException where there is none, DatabaseAway where nobody knows."""
        with _told_apart():
            return super().get_user(username)


@contextmanager
def _told_apart() -> Iterator[None]:
    """Raise DatabaseAway in place of MLflow's error where the database is why."""
    try:
        yield
    except MlflowException as error:
        if is_of_database_away(error.__cause__):
            raise DatabaseAway(str(error)) from error
        raise


def use_user_store(*, fast: bool) -> None:
    """Have MLflow's login ask a store of ours; call this before it opens its own."""
    from mlflow.server import auth

    if fast:
        from provision_server.stores.fast_users import FastUserStore

        auth.store = FastUserStore()
    else:
        auth.store = UserStore()
