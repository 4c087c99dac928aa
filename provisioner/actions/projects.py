"""A stack and the clients that use it: Kedro projects, and whatever reads a shell's environment."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from provisioner.actions.clients_ca import ca_path
from provisioner.actions.kedro_project import NotAProject, find_project
from provisioner.actions.link import Credentials, link, unlink
from provisioner.actions.runtime import never_made, stack_port, tracking_uri
from provisioner.actions.secrets import FOLDER, read_secret
from provisioner.actions.stack_directory import OpenStack, clients_ca, find_stack
from provisioner.errors import PreflightError
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import Reporter, Result
from provisioner.system.certificates import CERT_PATH, read_chain


@dataclass(frozen=True)
class LinkOptions:
    """What the user asked of `link`."""

    project: Path
    uri: str | None = None
    env: str | None = None
    python: Path | None = None
    ca_file: Path | None = None
    dry_run: bool = False


def link_project(option: Path | None, options: LinkOptions, reporter: Reporter) -> Result:
    """The project uses the URI given, or this stack's; proved where Kedro is at hand."""
    result = Result("link")
    uri, credentials, stack, ca = options.uri, None, "", None
    if uri is None:
        opened = _made_stack(option)
        opened.announce(reporter)
        uri, credentials, stack = tracking_uri(opened, stack_port(opened)), stack_credentials(opened), str(opened.source)
        result.stack, result.runtime = stack, opened.state.runtime or ""
        ca = clients_ca(opened)
    if options.ca_file:
        ca = _certificates(options.ca_file)
    report = link(
        options.project,
        uri,
        credentials=credentials,
        ca=ca,
        env=options.env,
        python=options.python,
        stack=stack,
        dry_run=options.dry_run,
        reporter=reporter,
    )
    result.data = {
        "tracking_uri": report.uri,
        "project": str(report.project),
        "env": report.env,
        "changed": list(report.changed),
        "diff": report.diff,
        "proof": {"state": report.proof.state, "detail": report.proof.detail},
    }
    result.lines = [*report.diff.splitlines(), f"tracking URI  {report.uri}"]
    result.lines.append("nothing was changed (--dry-run)" if options.dry_run else "next          kedro run")
    return result


def unlink_project(project: Path, reporter: Reporter) -> Result:
    """The project's files as they were before `link`, as far as nobody else changed them."""
    report = unlink(project, reporter)
    return Result("unlink", data={"project": str(report.project), "changed": list(report.changed)})


def link_projects(opened: OpenStack, uri: str, named: tuple[Path, ...], wanted: bool, reporter: Reporter) -> list[Path]:
    """The projects now linked: those named, else the one that the user stands in."""
    if not wanted:
        return []
    projects = list(named) or _project_here()
    for project in projects:
        link(
            project,
            uri,
            credentials=stack_credentials(opened),
            ca=clients_ca(opened),
            stack=str(opened.source),
            reporter=reporter,
        )
    return projects


def stack_credentials(opened: OpenStack) -> Credentials | None:
    """The login that a linked project uses; None where there is no login."""
    if opened.settings.server.auth == "none":
        return None
    password = read_secret(opened, "mlflow_admin_password")
    return Credentials(ADMIN_LOGIN, password) if password else None


def shell_lines(option: Path | None, reporter: Reporter) -> Result:
    """`export` lines; a password is read from its file when the shell runs them, so it is in no output."""
    opened = _made_stack(option)
    opened.announce(reporter)
    uri = tracking_uri(opened, stack_port(opened))
    result = Result("env", stack=str(opened.source), runtime=opened.state.runtime or "", data={"tracking_uri": uri})
    result.lines = [f"export MLFLOW_TRACKING_URI={shlex.quote(uri)}"]
    if ca := ca_path(opened):
        result.data["ca_file"] = str(ca)
        result.lines.append(f"export {CERT_PATH}={shlex.quote(str(ca))}")
    if opened.settings.server.auth == "basic":
        path = shlex.quote(str(opened.directory / FOLDER / "mlflow_admin_password"))
        read = f"ssh {shlex.quote(opened.host.name)} {shlex.quote(f'cat {path}')}" if opened.host.name else f"cat {path}"
        result.data |= {"username": ADMIN_LOGIN, "password_file": f"{opened.place}/{FOLDER}/mlflow_admin_password"}
        result.lines.append(f"export MLFLOW_TRACKING_USERNAME={ADMIN_LOGIN}")
        result.lines.append(f'export MLFLOW_TRACKING_PASSWORD="$({read})"')
    return result


def _certificates(path: Path) -> bytes:
    """The file's content; PreflightError when no client could use it."""
    try:
        content = path.read_bytes()
        read_chain(content)
    except (OSError, ValueError) as error:
        raise PreflightError(
            "the certificates cannot be read", where=str(path), why=str(error), hint="give a PEM file; a stack's own is its ca.crt"
        ) from None
    return content


def next_step(linked: list[Path], wanted: bool) -> str:
    """What a person does now."""
    if linked:
        return "kedro run"
    return "provision link PATH_TO_KEDRO_PROJECT" if wanted else "provision link"


def _project_here() -> list[Path]:
    try:
        return [find_project(Path.cwd()).path]
    except NotAProject:
        return []


def _made_stack(option: Path | None) -> OpenStack:
    opened = find_stack(option)
    if opened.state.runtime is None:
        raise never_made(opened)
    return opened
