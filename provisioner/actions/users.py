"""Users of a stack with a login: who there is, their passwords, and what was granted to whom."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from provisioner.errors import PreflightError
from provisioner.mlflow_api import API, API_3
from provisioner.model.secret import Secret, generate
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import Data, Reporter, Result, TrackingUri, Username
from provisioner.stack.audit import audit
from provisioner.stack.user_admin import UserServer, admin_password, open_users, open_with_login

Ask = Callable[[str], "str | None"]
LEAST_LENGTH = 12
# A name stands before the colon of a login and in addresses; MLflow's FastAPI routes read ASCII alone.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
# In MLflow's order; its own word for nothing at all is a veto over the default.
_ORDER = ("READ", "EDIT", "MANAGE")
_AS_MLFLOW = {"NO_PERMISSIONS": "DENY"}
_KINDS = {"experiment": "experiment", "registered_model": "model"}


Admin = Annotated[bool, "whether the user may do everything"]
Permission = Annotated[str, "what the user may do there now: `READ`, `EDIT`, `MANAGE`, `NO_PERMISSIONS`"]
ResourceType = Annotated[str, "`experiment` or `registered_model`"]
Resource = Annotated[str, "the experiment's number, or the model's name"]
Password = Annotated[str | None, "the login's password; of a user only when it was made here"]


@dataclass(frozen=True)
class Grant:
    """What was granted to a user on one experiment or model."""

    resource_type: ResourceType
    resource: Resource
    permission: Permission


@dataclass(frozen=True)
class UserRow:
    """A user with what was granted."""

    username: Username
    admin: Admin
    granted: tuple[Grant, ...]


@dataclass(frozen=True)
class UserAddData(Data):
    """What `user add` gives; the password with `--generate`."""

    command: ClassVar[str] = "user add"

    username: Username
    admin: Admin
    password: Password = None


@dataclass(frozen=True)
class UserListData(Data):
    """What `user list` gives."""

    command: ClassVar[str] = "user list"

    users: Annotated[
        tuple[UserRow, ...],
        "of each user `username`, `admin`, and `granted`: rows of `resource_type`, `resource`, `permission`",
    ]


@dataclass(frozen=True)
class UserRemoveData(Data):
    """What `user remove` gives."""

    command: ClassVar[str] = "user remove"

    username: Username


@dataclass(frozen=True)
class UserPasswdData(Data):
    """What `user passwd` gives; the password with `--generate`."""

    command: ClassVar[str] = "user passwd"

    username: Username
    password: Password = None


@dataclass(frozen=True)
class UserGrantData(Data):
    """What `user grant` gives."""

    command: ClassVar[str] = "user grant"

    username: Username
    resource_type: ResourceType
    resource: Resource
    permission: Permission


@dataclass(frozen=True)
class CredentialsData(Data):
    """What `credentials` gives."""

    command: ClassVar[str] = "credentials"

    tracking_uri: TrackingUri
    username: Username
    password: Password


def add_user(option: Path | None, name: str, admin: bool, ask: Ask, reporter: Reporter) -> Result:
    """Add a user.

    Raise PreflightError when the name is taken or not allowed, or the password is not acceptable.
    """
    _refuse_odd_name(name)
    server = open_users(option, reporter)
    if server.find(f"{API}/users/get?username={name}") is not None:
        raise PreflightError(
            f"there is a user {name} already",
            where=server.context.location,
            hint=f"`provision user passwd {name}` changes the password",
        )
    password, shown = _password(name, ask)
    server.call("POST", f"{API}/users/create", {"username": name, "password": password.reveal()})
    if admin:
        server.call("PATCH", f"{API}/users/update-admin", {"username": name, "is_admin": True})
    reporter.step("added", name, "admin: may do everything" if admin else f"may {_default_words(server)}")
    audit(server.context, "user add", "completed", name)
    uri = server.context.tracking_uri
    certificates = (
        " --ca-file ca.crt (the stack's, which you send along)" if server.context.clients_ca() else ""
    )
    lines = [f"password      {password.reveal()}"] if shown else []
    lines.append(f"next          {name} types: provision link --uri {uri} --user {name}{certificates}")
    return Result(UserAddData(name, admin, password.reveal() if shown else None), tuple(lines))


def list_users(option: Path | None, reporter: Reporter) -> Result:
    """Return every user with what was granted; what all may do is the default permission."""
    server = open_users(option, reporter)
    rows = []
    lines = [f"{'USER':<20} {'MAY':<14} GRANTED"]
    for user in sorted(
        server.call("GET", f"{API}/users/list")["users"], key=lambda row: str(row["username"])
    ):
        granted = tuple(
            Grant(row["resource_type"], row["resource_pattern"], _our_word(row["permission"]))
            for role in user["roles"]
            for row in role["permissions"]
        )
        rows.append(UserRow(user["username"], bool(user["is_admin"]), granted))
        what = "admin" if user["is_admin"] else server.context.settings.server.default_permission
        lines.append(f"{user['username']:<20} {what:<14} {_summary(granted)}".rstrip())
    return Result(UserListData(tuple(rows)), tuple(lines))


def remove_user(option: Path | None, name: str, reporter: Reporter) -> Result:
    """Remove the user, whose login is refused from this moment on; keep what the user logged."""
    if name == ADMIN_LOGIN:
        raise PreflightError(
            f"{ADMIN_LOGIN} is the stack's own login: checks and links of this machine use it",
            hint=f"`provision user passwd {ADMIN_LOGIN}` changes its password",
        )
    server = open_users(option, reporter)
    server.user(name)
    server.call("DELETE", f"{API}/users/delete", {"username": name})
    reporter.step("removed", name, "counts at once; experiments, runs and models stay")
    audit(server.context, "user remove", "completed", name)
    return Result(UserRemoveData(name))


def change_password(option: Path | None, name: str, ask: Ask, reporter: Reporter) -> Result:
    """Change the user's password; the old one is refused at once. Keep the admin's in its file too."""
    server = open_users(option, reporter)
    with server.context.host.lock(server.context.directory, "user passwd"):
        server.user(name)
        password, shown = _password(name, ask)
        if name == ADMIN_LOGIN:
            old = admin_password(server.context)
            if password == old:
                raise PreflightError("this is the password that it has", hint="choose another one")
            server.change_admin(old, password)
        else:
            server.call(
                "PATCH", f"{API}/users/update-password", {"username": name, "password": password.reveal()}
            )
    reporter.step("changed", name, "the old password is refused at once")
    if name == ADMIN_LOGIN:
        reporter.note(
            "link",
            "projects linked on this machine have the old password: "
            "`provision link PROJECT` gives them the new one",
        )
    audit(server.context, "user passwd", "completed", name)
    lines = (f"password      {password.reveal()}",) if shown else ()
    return Result(UserPasswdData(name, password.reveal() if shown else None), lines)


def grant_permission(
    option: Path | None,
    name: str,
    permission: str,
    experiment: str | None,
    model: str | None,
    reporter: Reporter,
) -> Result:
    """Set what the user may do with that experiment or model from now on."""
    server = open_users(option, reporter)
    server.user(name)
    kind, key, shown = (
        _experiment(server, experiment) if experiment is not None else _model(server, model or "")
    )
    _refuse_less_than_default(server, permission)
    _write_grant(server, name, kind, key, permission)
    address = (
        f"{API_3}/users/permissions/get?username={quote(name, safe='')}&resource_type={kind}"
        f"&resource_id={quote(key, safe='')}"
    )
    effective = _our_word(str(server.call("GET", address)["permission"]))
    reporter.step("granted", name, f"{effective} on {shown}")
    audit(server.context, "user grant", "completed", name)
    return Result(UserGrantData(name, kind, key, effective))


def show_credentials(option: Path | None, reporter: Reporter) -> Result:
    """Return the admin's login, with the address that it is for."""
    context = open_with_login(option, reporter)
    password = admin_password(context)
    uri = context.tracking_uri
    lines = (f"tracking URI  {uri}", f"user          {ADMIN_LOGIN}", f"password      {password.reveal()}")
    return Result(CredentialsData(uri, ADMIN_LOGIN, password.reveal()), lines)


def _password(name: str, ask: Ask) -> tuple[Secret, bool]:
    """Return the new password, and whether it was made here and has to be shown."""
    text = ask(name)
    if text is None:
        return generate(), True
    if len(text) < LEAST_LENGTH or not _PRINTABLE.fullmatch(text):
        raise PreflightError(
            f"a password needs {LEAST_LENGTH} or more characters of ASCII",
            why="MLflow takes no shorter one, and reads no other characters on all of its routes",
            hint="`--generate` makes a good one",
        )
    return Secret(text), False


def _refuse_odd_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise PreflightError(
            f"{name!r} is no name for a user",
            hint="use letters, digits and . _ @ + -, beginning with a letter or digit, 64 at the most",
        )


def _default_words(server: UserServer) -> str:
    permission = server.context.settings.server.default_permission
    words = {
        "READ": "read",
        "EDIT": "read and change",
        "MANAGE": "read, change and delete",
        "NO_PERMISSIONS": "see nothing of",
    }
    return f"{words[permission]} what others logged (server.default_permission: {permission})"


def _our_word(permission: str) -> str:
    return next((ours for ours, theirs in _AS_MLFLOW.items() if theirs == permission), permission)


def _summary(granted: tuple[Grant, ...]) -> str:
    """Return the grants counted, such as `MANAGE on 3 experiments, READ on 1 model`.

    Whoever makes an experiment may manage it, so there are many.
    """
    counts = Counter((row.permission, _KINDS.get(row.resource_type, row.resource_type)) for row in granted)
    return ", ".join(
        f"{permission} on {count} {kind}{'s' * (count > 1)}"
        for (permission, kind), count in sorted(counts.items())
    )


def _experiment(server: UserServer, given: str) -> tuple[str, str, str]:
    found = server.find(f"{API}/experiments/get-by-name?experiment_name={quote(given, safe='')}")
    if found is None and given.isdigit():
        found = server.find(f"{API}/experiments/get?experiment_id={given}")
    if found is None:
        raise PreflightError(
            f"there is no experiment {given}",
            where=server.context.location,
            hint="give its name or its number",
        )
    key = str(found["experiment"]["experiment_id"])
    return "experiment", key, f"experiment {found['experiment']['name']} ({key})"


def _model(server: UserServer, name: str) -> tuple[str, str, str]:
    found = server.find(f"{API}/registered-models/get?name={quote(name, safe='')}")
    if found is None:
        raise PreflightError(
            f"there is no registered model {name}",
            where=server.context.location,
            hint="give its name as the list of models has it (`provision open`); a run registers a new one",
        )
    if {"key": "mlflow.prompt.is_prompt", "value": "true"} in found["registered_model"].get("tags", []):
        # A grant on a model of that name would be kept, and count for nothing.
        raise PreflightError(
            f"{name} is a prompt, and MLflow grants a user nothing on one prompt",
            where=server.context.location,
            hint="what all may do with prompts is `server.default_permission`",
        )
    return "registered_model", name, f"model {name}"


def _refuse_less_than_default(server: UserServer, permission: str) -> None:
    default = server.context.settings.server.default_permission
    if permission in _ORDER and default in _ORDER and _ORDER.index(permission) < _ORDER.index(default):
        raise PreflightError(
            f"everybody may {default} already: {permission} would change nothing",
            where="server.default_permission in provision.yml",
            why="MLflow gives a user the more of what was granted and what all have",
            hint=f"set `server.default_permission: {permission}`, or grant NO_PERMISSIONS",
        )


def _write_grant(server: UserServer, name: str, kind: str, key: str, permission: str) -> None:
    """Set the user's one grant on this resource, in one step where there is another; DEFAULT revokes it."""
    own = next(
        (
            row
            for row in _own_grants(server, name)
            if (row["resource_type"], row["resource_pattern"]) == (kind, key)
        ),
        None,
    )
    payload = {"username": name, "resource_type": kind, "resource_id": key}
    wanted = _AS_MLFLOW.get(permission, permission)
    if permission == "DEFAULT":
        if own:
            server.call("POST", f"{API_3}/users/permissions/revoke", payload)
    elif own is None:
        server.call("POST", f"{API_3}/users/permissions/grant", {**payload, "permission": wanted})
    elif own["permission"] != wanted:
        server.call(
            "PATCH",
            f"{API_3}/roles/permissions/update",
            {"role_permission_id": own["id"], "permission": wanted},
        )


def _own_grants(server: UserServer, name: str) -> list[dict[str, Any]]:
    """Return what was granted to this user alone: MLflow keeps it in a role of a name of its own."""
    roles = server.call("GET", f"{API_3}/users/roles/list?username={quote(name, safe='')}")["roles"]
    return [
        row for role in roles if re.fullmatch(r"__user_\d+__", role["name"]) for row in role["permissions"]
    ]
