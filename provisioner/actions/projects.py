"""A stack and the Kedro projects that use it."""

from __future__ import annotations

from pathlib import Path

from provisioner.actions.kedro_project import find_project
from provisioner.actions.link import Credentials, link
from provisioner.actions.secrets import read_secret
from provisioner.actions.stack_directory import OpenStack
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import Reporter


def link_projects(opened: OpenStack, uri: str, named: tuple[Path, ...], wanted: bool, reporter: Reporter) -> list[Path]:
    """The projects now linked: those named, else the one that the user stands in."""
    if not wanted:
        return []
    projects = list(named)
    if not projects and (here := _project_here()):
        projects = [here]
    for project in projects:
        link(project, uri, credentials=stack_credentials(opened), stack=str(opened.directory), reporter=reporter)
    return projects


def stack_credentials(opened: OpenStack) -> Credentials | None:
    """The login that a linked project uses; None where there is no login."""
    if opened.settings.server.auth == "none":
        return None
    password = read_secret(opened, "mlflow_admin_password")
    return Credentials(ADMIN_LOGIN, password) if password else None


def next_step(linked: list[Path], wanted: bool) -> str:
    """What a person does now."""
    if linked:
        return "kedro run"
    return "provision link PATH_TO_KEDRO_PROJECT" if wanted else "provision link"


def _project_here() -> Path | None:
    try:
        return find_project(Path.cwd()).path
    except Exception:
        return None
