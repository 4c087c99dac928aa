"""The environment of a shell whose programs use a tracking server."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from provisioner.kedro.address import checked_uri, warnings_of_environment
from provisioner.kedro.login import shell_login
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import Data, Reporter, Result, TrackingUri, Username
from provisioner.stack.ca_bundle import ca_path, given_certificates
from provisioner.stack.find import open_made_stack
from provisioner.stack.secrets import FOLDER, folder_mode
from provisioner.system.certificates import CERT_PATH


@dataclass(frozen=True)
class EnvData(Data):
    """What `env` gives: with a login its name, of this stack's admin its file.

    Also the certificates where clients need some.
    """

    command: ClassVar[str] = "env"

    tracking_uri: TrackingUri
    username: Username | None = None
    password_file: Annotated[str | None, "the file with the password of `username`"] = None
    ca_file: Annotated[str | None, "the file of certificates that clients have to trust"] = None


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
    if options.uri is not None:
        uri, context = checked_uri(options.uri), None
    else:
        context = open_made_stack(option, reporter)
        uri = context.tracking_uri
    # Of another server nobody knows here whether it asks for a login.
    has_login = context is None or bool(options.user) or context.settings.server.auth == "basic"
    for remark in warnings_of_environment(uri, has_login=has_login):
        reporter.warn(*remark)
    lines = [f"export MLFLOW_TRACKING_URI={shlex.quote(uri)}"]
    if options.ca_file:
        given_certificates(options.ca_file)
    if ca := options.ca_file.absolute() if options.ca_file else ca_path(context) if context else None:
        lines.append(f"export {CERT_PATH}={shlex.quote(str(ca))}")
    username, password_file = options.user, None
    if options.user:
        lines += shell_login(options.user)
    elif context and has_login:
        # The lines read there.
        folder_mode(context)
        path = shlex.quote(str(context.directory / FOLDER / "mlflow_admin_password"))
        read = (
            f"ssh {shlex.quote(context.host.name)} {shlex.quote(f'cat {path}')}"
            if context.host.is_remote
            else f"cat {path}"
        )
        username, password_file = ADMIN_LOGIN, f"{context.location}/{FOLDER}/mlflow_admin_password"
        lines.append(f"export MLFLOW_TRACKING_USERNAME={ADMIN_LOGIN}")
        lines.append(f'export MLFLOW_TRACKING_PASSWORD="$({read})"')
    return Result(EnvData(uri, username, password_file, str(ca) if ca else None), tuple(lines))
