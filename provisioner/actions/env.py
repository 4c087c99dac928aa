"""The environment of a shell whose programs use a tracking server."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from provisioner.kedro.login import shell_login
from provisioner.kedro.placement import checked_uri, remarks_on_environment
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import Reporter, Result
from provisioner.stack.ca_bundle import ca_path, given_certificates
from provisioner.stack.find import open_made_stack
from provisioner.stack.secrets import FOLDER
from provisioner.system.certificates import CERT_PATH


@dataclass(frozen=True)
class ShellOptions:
    """What the user asked of `env`."""

    uri: str | None = None
    user: str | None = None
    ca_file: Path | None = None


def shell_lines(option: Path | None, options: ShellOptions, reporter: Reporter) -> Result:
    """Return the `export` lines for a shell.

    No output has a password: the shell that runs the lines reads it from its file, or asks for it.
    """
    result = Result("env")
    if options.uri is not None:
        uri, context = checked_uri(options.uri), None
    else:
        context = open_made_stack(option, reporter)
        uri = context.tracking_uri
        result.stack, result.runtime = str(context.source), context.model.runtime
    # Of another server nobody knows here whether it asks for a login.
    has_login = context is None or bool(options.user) or context.settings.server.auth == "basic"
    for remark in remarks_on_environment(uri, has_login=has_login):
        reporter.step(*remark)
    result.data = {"tracking_uri": uri}
    result.lines = [f"export MLFLOW_TRACKING_URI={shlex.quote(uri)}"]
    if options.ca_file:
        given_certificates(options.ca_file)
    if ca := options.ca_file.absolute() if options.ca_file else ca_path(context) if context else None:
        result.data["ca_file"] = str(ca)
        result.lines.append(f"export {CERT_PATH}={shlex.quote(str(ca))}")
    if options.user:
        result.data["username"] = options.user
        result.lines += shell_login(options.user)
    elif context and has_login:
        path = shlex.quote(str(context.directory / FOLDER / "mlflow_admin_password"))
        read = f"ssh {shlex.quote(context.host.name)} {shlex.quote(f'cat {path}')}" if context.host.is_remote else f"cat {path}"
        result.data |= {"username": ADMIN_LOGIN, "password_file": f"{context.location}/{FOLDER}/mlflow_admin_password"}
        result.lines.append(f"export MLFLOW_TRACKING_USERNAME={ADMIN_LOGIN}")
        result.lines.append(f'export MLFLOW_TRACKING_PASSWORD="$({read})"')
    return result
