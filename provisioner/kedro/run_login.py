"""The login that a run sends: where it stands, and what to do where the server refuses it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.errors import EditRefused
from provisioner.kedro.config import read_layer
from provisioner.kedro.login import home_file, home_login
from provisioner.kedro.project import KedroProject
from provisioner.kedro.record import LinkRecord
from provisioner.model.login import PASSWORD, USERNAME
from provisioner.model.secret import Secret
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.system.certificates import CERT_PATH
from provisioner.system.files import read_file

_VARIABLE = re.compile(r"\$\{oc\.env:\s*(\w+)\s*\}")


@dataclass(frozen=True)
class _Value:
    """A value, and the file (or else the variable) that has it; all "" for one that is nowhere."""

    text: str = ""
    file: str = ""
    variable: str = ""


@dataclass(frozen=True)
class RunLogin:
    """What a run sends and trusts; "" for each that it lacks."""

    username: str
    password: Secret
    ca_file: str
    place: str
    """Where the password stands."""
    variable: str
    """The variable that has the password, where that is one."""
    options: str
    """What keeps a new link of it where it is."""


def run_login(project: KedroProject, env: str, entry: str) -> RunLogin:
    """Return the login and the certificate file of a run.

    Each value is from the entry that mlflow.yml names, else from this shell; user and password may also be
    from MLflow's own file.
    """
    values, file = _entry(project, env, entry)
    at_home = {name: _Value(text, str(home_file())) for name, text in home_login().items()}
    user, password, ca = (
        found if found.text else at_home.get(name, _Value())
        for name, found in ((name, _value(values, name, file)) for name in (USERNAME, PASSWORD, CERT_PATH))
    )
    options = " --login file" if password.file == str(home_file()) else ""
    if CERT_PATH in values and ca.text:
        options += f" --ca-file {shlex.quote(ca.text)}"
    place = password.file or (password.variable and f"the variable {password.variable}")
    return RunLogin(user.text, Secret(password.text), ca.text, place, password.variable, options)


def refused_login(login: RunLogin, uri: str, env: str, linked: LinkRecord | None) -> tuple[str, str]:
    """Return what is wrong where the server at the URI refuses the login, or wants one, and what fixes it.

    `env` is "" for the default environment; `linked` is the link to that server, if there is one.
    """
    fix = _new_link(login, uri, env, linked)
    if not login.username:
        return "the server wants a login, and the run has none", fix
    refused = f"the server refuses the login {login.username}"
    if not login.place:
        return f"{refused}, which has no password", fix
    if login.variable:
        fix = f"set {login.variable} to the password of {login.username}, or have it in the project: {fix}"
    return f"{refused}, whose password is in {login.place}", fix


def _new_link(login: RunLogin, uri: str, env: str, linked: LinkRecord | None) -> str:
    """Return the command line that writes the login anew."""
    named = f" --env {shlex.quote(env)}" if env else ""
    # The stack knows the admin's password and nobody else's.
    if linked and linked.stack and login.username in {"", ADMIN_LOGIN}:
        return f"`provision link {shlex.quote(linked.project)} --stack {shlex.quote(linked.stack)}{named}`"
    user = shlex.quote(login.username) if login.username else "NAME"
    return f"`provision link --uri {shlex.quote(uri)} --user {user}{named}{login.options}`"


def _entry(project: KedroProject, env: str, entry: str) -> tuple[Mapping[str, Any], str]:
    """Return the entry of that name as Kedro reads it in the environment, and its file; empty without one."""
    values: Mapping[str, Any] = {}
    file = ""
    for name in dict.fromkeys((project.base_env, env)):
        try:
            layer = read_layer(project, name, "credentials", read_file)
        except EditRefused:
            continue
        if isinstance(layer.data.get(entry), dict):
            values, file = layer.data[entry], project.shown(layer.homes[entry])
    return values, file


def _value(values: Mapping[str, Any], name: str, file: str) -> _Value:
    value = values.get(name)
    if isinstance(value, str):
        variable = _VARIABLE.fullmatch(value.strip())
        if not variable:
            return _Value(value, file)
        name = variable.group(1)
    return _Value(os.environ.get(name, ""), variable=name)
