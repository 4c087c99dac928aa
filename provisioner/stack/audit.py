"""A change of a stack on a server: an audit line, and the version before when it does not get healthy."""

from __future__ import annotations

import contextlib
import getpass
import json
import socket
import time
from collections.abc import Iterator

import provisioner
from provisioner.errors import CommandFailed, ProvisionError
from provisioner.output import Reporter
from provisioner.stack.changeset import ChangeSet, revert, snapshot
from provisioner.stack.context import StackContext
from provisioner.system.ssh import SSHHost
from provisioner.system.ssh_connection import LOST

AUDIT_LOG = "audit.log"


@contextlib.contextmanager
def changing(context: StackContext, command: str, change: ChangeSet, reporter: Reporter) -> Iterator[None]:
    """Run the block; on a server, write to the audit log how it ended.

    When it fails there, go back to the version that served before, unless the connection was lost.
    """
    if not context.host.is_remote or not change:
        yield
        return
    kept = snapshot(context, change)
    what = change.plan.summary or f"files: {', '.join(change.files)}"
    try:
        yield
    except ProvisionError as error:
        if is_lost(error):
            raise
        reverted = revert(context, kept, change, error, reporter) if kept else None
        went_back = ", went back" if reverted and reverted.serves else ""
        with contextlib.suppress(ProvisionError):
            audit(context, command, f"failed: {error.what}{went_back}", what)
        if reverted is None:
            raise
        raise error.with_(left_as=reverted.left_as) from error
    audit(context, command, "completed", what)


def audit(context: StackContext, command: str, outcome: str, what: str = "") -> None:
    """Append a line of JSON to the log on the server: when, who from where, which command, how it ended.

    Do nothing for a stack of this machine.
    """
    if not isinstance(context.host, SSHHost):
        return
    facts = context.host.facts
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "account": facts.get("user", ""),
        "from": facts.get("connection", "").partition(" ")[0],
        "command": command,
        "version": provisioner.__version__,
        "outcome": outcome,
        "what": what,
    }
    context.host.append(json.dumps(line), context.directory / AUDIT_LOG, 0o600)


def is_lost(error: ProvisionError) -> bool:
    """Return whether it is the error of a connection that was lost."""
    return isinstance(error, CommandFailed) and error.returncode == LOST
