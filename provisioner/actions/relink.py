"""Projects that have an address which the stack had before."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from provisioner.actions.link import stack_credentials
from provisioner.errors import ProvisionError
from provisioner.kedro.link import link
from provisioner.kedro.old_login import Ask
from provisioner.kedro.record import LinkRecord, records_of, value_digest
from provisioner.model.login import USERNAME
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.output import Reporter
from provisioner.stack.context import StackContext


def relink(
    context: StackContext, linked: Collection[Path], ask: Ask | None, reporter: Reporter
) -> list[Path]:
    """Name the projects whose link has another address than this; with the user's yes link them anew.

    Those linked just now are left out.
    """
    uri = context.tracking_uri
    stale = [
        record
        for record in records_of(str(context.source))
        if record.uri != uri and Path(record.project) not in linked
    ]
    for record in stale:
        reporter.warn(
            record.project, f"it is linked to {record.uri}, where this stack was before: {_command(record)}"
        )
    by_us = [record for record in stale if not _has_anothers_login(record)]
    if not by_us or ask is None or not ask(f"Link {', '.join(record.project for record in by_us)} to {uri}?"):
        return []
    return [Path(record.project) for record in by_us if _link(context, record, reporter)]


def _users(record: LinkRecord) -> set[str]:
    """Return the users whose login the link wrote, as hashes: a name is remembered by its hash only."""
    return {owned.sha256 for file in record.files for owned in file.owned if owned.path[-1] == USERNAME}


def _has_anothers_login(record: LinkRecord) -> bool:
    """Return whether somebody other than the admin has to type a password for a new link."""
    return bool(_users(record) - {value_digest(ADMIN_LOGIN)})


def _command(record: LinkRecord) -> str:
    return f"`provision link {record.project}{' --user NAME' if _has_anothers_login(record) else ''}`"


def _link(context: StackContext, record: LinkRecord, reporter: Reporter) -> bool:
    """Link the project anew and return whether that worked; a failure does not stop the other projects."""
    try:
        link(
            Path(record.project),
            context.tracking_uri,
            credentials=stack_credentials(context) if _users(record) else None,
            ca=context.clients_ca(),
            env=record.env,
            stack=str(context.source),
            identity=context.state.identity,
            reporter=reporter,
        )
    except ProvisionError as error:
        reporter.warn(record.project, f"{error.what}: {error.why}; {error.hint}")
        return False
    return True
