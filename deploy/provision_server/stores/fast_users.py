"""The users' store with a planned statement for who asks, and one for what they may.

Each call with a login needs the first, and each of an ordinary user both. As in the tracking store, what is
not plain success is left to MLflow's own method.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from mlflow.server.auth.entities import User
from mlflow.server.auth.permissions import RESOURCE_TYPE_WORKSPACE, _validate_resource_type
from mlflow.server.auth.sqlalchemy_store import RoleGrantRow

from provision_server.stores.prepared import Statement, Statements
from provision_server.stores.tracking import tried
from provision_server.stores.tracking_rows import text
from provision_server.stores.users import UserStore

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


class FastUserStore(UserStore):
    """It is used where `pinned.reason_against` has none; its docstrings are MLflow's."""

    def __init__(self) -> None:
        super().__init__()
        self._statements = Statements()

    def get_user(self, username: str) -> Any:
        def short() -> User:
            [row] = self._rows(USER, name=text(username))
            return User(*row)

        return tried(short, partial(super().get_user, username))

    def list_grants(
        self, user_id: int, workspace: str, resource_types: Collection[str]
    ) -> list[RoleGrantRow]:
        def short() -> list[RoleGrantRow]:
            for resource_type in resource_types:
                _validate_resource_type(resource_type)
            types = [*resource_types, RESOURCE_TYPE_WORKSPACE]
            rows = self._rows(GRANTS, user=user_id, workspace=workspace, types=types)
            return [RoleGrantRow(*row) for row in rows]

        return tried(short, partial(super().list_grants, user_id, workspace, resource_types))

    def _rows(self, statement: Statement, **values: Any) -> Any:
        with self.read_engine.connect() as connection:
            return self._statements.ask(connection, statement, values).fetchall()
