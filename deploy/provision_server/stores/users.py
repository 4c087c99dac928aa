"""The users' stores: MLflow's own, which takes no database that is away for a user who is gone.

The fast one has a planned statement for who asks, and one for what they may. Each call with a login needs the
first, and each of an ordinary user both. As in the tracking store, what is not plain success is left to
MLflow's own method.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.server.auth.entities import User
from mlflow.server.auth.permissions import RESOURCE_TYPE_WORKSPACE, _validate_resource_type
from mlflow.server.auth.sqlalchemy_store import RoleGrantRow, SqlAlchemyStore

from provision_server.stores.prepared import Statement, Statements
from provision_server.stores.statements import DatabaseAway, is_of_database_away
from provision_server.stores.tracking_rows import text

USER = Statement(
    "user", "SELECT id, username, password_hash, is_admin FROM users WHERE username = %(name)s::text"
)
GRANTS = Statement(
    "grants",
    """
    SELECT permissions.resource_type, permissions.resource_pattern, permissions.permission
    FROM user_role_assignments AS assigned
    JOIN roles ON roles.id = assigned.role_id
    JOIN role_permissions AS permissions ON permissions.role_id = roles.id
    WHERE assigned.user_id = %(user)s::integer AND roles.workspace = %(workspace)s::text
        AND permissions.resource_type = ANY (%(types)s::text[])""",
)


class UserStore(SqlAlchemyStore):  # type: ignore[misc, unused-ignore]
    """MLflow's store of users and grants, of which a login is never refused since the database is away.

    MLflow's login takes each of its own errors for a user who is not there.
    """

    @staticmethod
    def _get_user(session: Any, username: str) -> Any:
        with _told_apart():
            return SqlAlchemyStore._get_user(session, username)

    def get_user(self, username: str) -> User:
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


class FastUserStore(UserStore):
    """The one that is used where `pinned.reason_against` has none; its docstrings are MLflow's."""

    def __init__(self) -> None:
        super().__init__()
        self._statements = Statements()

    def get_user(self, username: str) -> User:
        try:
            [row] = self._rows(USER, name=text(username))
            return User(*row)
        except Exception:  # whatever it was: MLflow says so in its own words, or finds the user
            return super().get_user(username)

    def list_grants(
        self, user_id: int, workspace: str, resource_types: Collection[str]
    ) -> list[RoleGrantRow]:
        try:
            for resource_type in resource_types:
                _validate_resource_type(resource_type)
            types = [*resource_types, RESOURCE_TYPE_WORKSPACE]
            rows = self._rows(GRANTS, user=user_id, workspace=workspace, types=types)
            return [RoleGrantRow(*row) for row in rows]
        except Exception:  # as above
            return super().list_grants(user_id, workspace, resource_types)

    def _rows(self, statement: Statement, **values: Any) -> Any:
        with self.read_engine.connect() as connection:
            return self._statements.ask(connection, statement, values).fetchall()


def use_user_store(*, fast: bool) -> None:
    """Have MLflow's login ask a store of ours; call this before it opens its own."""
    from mlflow.server import auth

    auth.store = FastUserStore() if fast else UserStore()
