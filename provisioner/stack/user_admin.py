"""The stack's users as MLflow keeps them: its REST API, asked as the admin."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from provisioner.errors import PreflightError, ProvisionError, Unhealthy
from provisioner.mlflow_api import API
from provisioner.model.secret import Secret
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import Reporter
from provisioner.stack.context import StackContext
from provisioner.stack.find import open_stack
from provisioner.stack.secrets import FILE_MODE, FOLDER, read_secret, read_secrets
from provisioner.system.http import Rest, RestError

ADMIN_SECRET = "mlflow_admin_password"  # noqa: S105
# What `passwd admin` was about to make the admin's password when it was interrupted.
PENDING = f"{ADMIN_SECRET}.new"


class UserServer:
    """One stack's server and its users; every failed call is an error in words."""

    def __init__(self, context: StackContext, password: Secret) -> None:
        self.context = context
        self._as_admin(password)

    def _as_admin(self, password: Secret) -> None:
        self._rest: Rest = self.context.client(password)

    def check(self) -> None:
        """Check that the server takes the admin's login; finish a change of it that was left half done."""
        pending = read_secrets(self.context, [PENDING])[PENDING]
        try:
            self._rest.call("GET", f"{API}/users/current")
        except RestError as error:
            if error.status != 401 or not pending:
                raise _explained(error, self.context) from error
            self._as_admin(Secret(pending.decode()))
            self.call("GET", f"{API}/users/current")
            self._keep(Secret(pending.decode()))

    def call(self, method: str, path: str, payload: object | None = None) -> dict[str, Any]:
        """Return the answer; raise an error in words when the call fails."""
        try:
            return self._rest.call(method, path, payload)
        except RestError as error:
            raise _explained(error, self.context) from error

    def find(self, path: str) -> dict[str, Any] | None:
        """Return the answer; None where there is no such thing."""
        try:
            return self._rest.call("GET", path)
        except RestError as error:
            if error.status == 404:
                return None
            raise _explained(error, self.context) from error

    def user(self, name: str) -> dict[str, Any]:
        """Return the user; raise PreflightError when there is none."""
        found = self.find(f"{API}/users/get?username={quote(name, safe='')}")
        if found is None:
            raise PreflightError(
                f"there is no user {name}",
                where=self.context.location,
                hint="`provision user list` shows all",
            )
        return dict(found["user"])

    def change_admin(self, old: Secret, new: Secret) -> None:
        """Change the admin's password, in the server and in the secret file."""
        # The new one is on disk before the server has it: an interrupted change locks nobody out.
        self.context.host.put(new.reveal().encode(), self._path(PENDING), FILE_MODE)
        payload = {"username": ADMIN_LOGIN, "password": new.reveal(), "current_password": old.reveal()}
        self.call("PATCH", f"{API}/users/update-password", payload)
        self._keep(new)

    def _keep(self, password: Secret) -> None:
        """Write that password of the admin to the secret file, and remove the pending one."""
        self.context.host.put(password.reveal().encode(), self._path(ADMIN_SECRET), FILE_MODE)
        self.context.host.run(["rm", "-f", str(self._path(PENDING))])

    def _path(self, name: str) -> Path:
        return self.context.directory / FOLDER / name


def open_users(option: Path | None, reporter: Reporter) -> UserServer:
    """Return the users of the stack that a command typed here works on.

    Raise an error when it has no logins or does not answer.
    """
    context = open_with_login(option, reporter)
    if not context.is_made:
        raise context.never_made()
    server = UserServer(context, admin_password(context))
    server.check()
    return server


def open_with_login(option: Path | None, reporter: Reporter) -> StackContext:
    """Return the stack that a command typed here works on; raise PreflightError when it has no logins."""
    context = open_stack(option, reporter)
    if context.settings.server.auth == "none":
        raise PreflightError(
            "this stack has no logins",
            where=context.location,
            hint="set `server.auth: basic` in provision.yml, then `provision up`",
        )
    return context


def admin_password(context: StackContext) -> Secret:
    """Return the admin's password; raise Unhealthy where no `up` has made it."""
    password = read_secret(context, ADMIN_SECRET)
    if password is None:
        where = f"{context.location}/{FOLDER}/{ADMIN_SECRET}"
        raise Unhealthy("the admin's password is not there yet", where=where, hint="`provision up` makes it")
    return password


def _explained(error: RestError, context: StackContext) -> ProvisionError:
    if error.status == 401:
        return Unhealthy(
            f"the server refuses the login {ADMIN_LOGIN}",
            where=f"{context.location}/{FOLDER}/{ADMIN_SECRET}",
            why="its password was changed elsewhere",
            hint="write the password into that file, without a line end",
        )
    if error.status in {400, 403, 404, 409}:
        return PreflightError(
            f"the server refused: {error.message}",
            where=context.location,
            hint="`provision user list` shows every user, and what was granted to whom",
        )
    return Unhealthy(
        "the tracking server does not answer as it should",
        where=context.location,
        why=str(error),
        hint=error.hint or "`provision status` shows what runs; `provision up` starts it",
    )
