"""The login of a linked project's runs: seen to be right by the server, kept where the person wants it."""

from __future__ import annotations

import configparser
import io
import shlex
from pathlib import Path

from provisioner.errors import LinkRefused, PreflightError, ProvisionError, Unhealthy
from provisioner.kedro.link_plan import Credentials
from provisioner.kedro.staged_edits import StagedEdits
from provisioner.mlflow_api import API
from provisioner.model.login import PASSWORD, USERNAME
from provisioner.output import CheckResult
from provisioner.system.certificates import clients_ca_file
from provisioner.system.files import read_file
from provisioner.system.http import Rest, RestError
from provisioner.yaml_edit.edit import Change

SECTION = "mlflow"


def check_server(uri: str, credentials: Credentials | None, ca: bytes | None) -> CheckResult:
    """Check what the server at the URI says to this login, or to none.

    Raise PreflightError or Unhealthy, which say what to fix before a link makes sense.
    """
    user = credentials.username if credentials else ""
    rest = rest_of(uri, credentials, ca)
    try:
        # As MLflow's client will: a server may let everybody see that it is there.
        rest.call("POST", f"{API}/experiments/search", {"max_results": 1})
        if not credentials:
            return CheckResult("server", True, f"{uri} answers, and asks for no login")
        return _who(rest, uri, user)
    except RestError as error:
        raise _refused(error, uri, user) from error


def rest_of(uri: str, credentials: Credentials | None, ca: bytes | None) -> Rest:
    """Return a client of the server at the URI, with that login or with none.

    It trusts the server by those certificates, or as MLflow's client does.
    """
    user, password = (credentials.username, credentials.password.reveal()) if credentials else ("", "")
    return Rest(uri, username=user, password=password, trusted=ca or clients_ca_file(""))


def _who(rest: Rest, uri: str, user: str) -> CheckResult:
    try:
        known = rest.call("GET", f"{API}/users/current")["user"]["username"]
    except RestError as error:
        if error.status == 404:
            return CheckResult(
                "server", True, f"{uri} answers; it asks for no login, so {user} is not needed"
            )
        raise
    return CheckResult("server", True, f"{uri} answers, and lets {known} in")


def _refused(error: RestError, uri: str, user: str) -> ProvisionError:
    if error.status == 401 and not user:
        return PreflightError(
            "the server wants a login",
            where=uri,
            hint="link again with `--user NAME`; whoever runs the server adds users (`provision user add`)",
        )
    if error.status == 401:
        return PreflightError(
            f"the server refuses the login {user}",
            where=uri,
            why="the password is wrong, or there is no such user",
            hint=f"whoever runs the server can set a new password: `provision user passwd {user}`",
        )
    if error.status == 429:
        return PreflightError(
            f"too many wrong passwords of {user} were sent from this address",
            where=uri,
            hint="wait a minute, then link again",
        )
    return Unhealthy(
        "the tracking server does not answer as it should",
        where=uri,
        why=str(error),
        hint=error.hint
        or "check the address, and the way to it; `--no-check` links without asking the server",
        left_as="the project is untouched",
    )


def home_file() -> Path:
    """Return the path of MLflow's own file of the one login that all its servers get."""
    return Path.home() / ".mlflow" / "credentials"


def home_login() -> dict[str, str]:
    """Return the login of that file by the names of its variables.

    It is empty where the file is not there, or cannot be read or parsed.
    """
    path = home_file()
    try:
        values = _values((read_file(path) or b"").decode("utf-8", "replace"), path)
    except ProvisionError:
        return {}
    return {name: values[name.lower()] for name in (USERNAME, PASSWORD) if name.lower() in values}


def write_home_login(draft: StagedEdits, credentials: Credentials) -> None:
    """Change the draft so that the file has the login.

    Raise LinkRefused when it has another user's, since MLflow has room for one, or no certain place for this
    one.
    """
    path = home_file()
    wanted = {USERNAME.lower(): credentials.username, PASSWORD.lower(): credentials.password.reveal()}
    content = (draft.read(path) or b"").decode("utf-8", "replace")
    there = _values(content, path)
    other = there.get(USERNAME.lower(), credentials.username)
    if other != credentials.username:
        raise LinkRefused(
            f"{path} has the login of {other}",
            where=str(path),
            why="MLflow takes one login from there, for every server",
            hint="use `--login credentials`, which is this project's alone, or remove that login first",
        )
    if any(there.get(name) != value for name, value in wanted.items()):
        content = _with_values(content, wanted)
        if "\n" in "".join(wanted.values()) or _values(content, path) != {**there, **wanted}:
            raise LinkRefused(
                "this login cannot be written with certainty",
                where=str(path),
                why="the file's form has no place for such a password",
                hint="use `--login credentials`",
            )
    draft.put(path, content.encode(), [Change((name,), value) for name, value in wanted.items()])


def shell_login(user: str) -> tuple[str, ...]:
    """Return lines for a shell that take the password from its environment, or ask for it; they hold none."""
    ask = (
        f'[ -n "${{{PASSWORD}:-}}" ] || {{ printf "Password of %s: " {shlex.quote(user)} >/dev/tty; '
        f"stty -echo </dev/tty; IFS= read -r {PASSWORD} </dev/tty; stty echo </dev/tty; echo >/dev/tty; }}"
    )
    return f"export {USERNAME}={shlex.quote(user)}", ask, f"export {PASSWORD}"


def _values(content: str, path: Path) -> dict[str, str]:
    """Return the file's values as MLflow reads them; raise LinkRefused when it cannot be parsed."""
    parser = configparser.ConfigParser()
    try:
        parser.read_string(content)
        return dict(parser[SECTION]) if SECTION in parser else {}
    except configparser.Error as error:
        why = str(error).splitlines()[0]
        raise LinkRefused(
            f"{path} cannot be understood",
            where=str(path),
            why=why,
            hint="correct it; MLflow cannot read it either",
        ) from error


def _with_values(content: str, values: dict[str, str]) -> str:
    """Return the text with these values in its section; keep every other line."""
    lines = [line for line in io.StringIO(content) if line.partition("=")[0].strip().lower() not in values]
    new = [f"{name} = {value.replace('%', '%%')}\n" for name, value in values.items()]
    headings = [number for number, line in enumerate(lines) if line.strip() == f"[{SECTION}]"]
    if headings:
        lines[headings[0] + 1 : headings[0] + 1] = new
    else:
        ends = not lines or lines[-1].endswith("\n")
        lines += [*([] if ends else ["\n"]), f"[{SECTION}]\n", *new]
    return "".join(lines)
