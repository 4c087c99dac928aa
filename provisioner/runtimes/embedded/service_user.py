"""Whom the embedded services run as: the user, or for root a dedicated system user, dropped to once."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import CommandFailed, PreflightError
from provisioner.output import Reporter
from provisioner.runtimes.embedded.filesystem import existing_parent
from provisioner.system import process
from provisioner.system.process import Identity

SYSTEM_USER = "provision"
# What "nobody in particular" may do is what a system user without groups of its own may.
_NOBODY = 65534


@dataclass(frozen=True)
class ServiceUser:
    """A user of this machine; `dropped` when we are root and the services must not be."""

    name: str
    uid: int
    gid: int
    dropped: bool = False
    exists: bool = True

    @property
    def identity(self) -> Identity | None:
        """Return what a program is started with to run as this user; None when that is what we are."""
        return Identity(self.uid, self.gid) if self.dropped else None


def current_account() -> ServiceUser:
    """Return the account for whoever runs this; for root the system user, which may still have to be made."""
    if os.geteuid() == 0:
        return system_account()
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:
        return ServiceUser("", os.geteuid(), os.getegid(), exists=False)
    return ServiceUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def system_account(name: str = SYSTEM_USER) -> ServiceUser:
    """Return the system user that root drops to."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return ServiceUser(name, _NOBODY, _NOBODY, dropped=True, exists=False)
    return ServiceUser(name, entry.pw_uid, entry.pw_gid, dropped=True)


def check_account(account: ServiceUser) -> None:
    """Raise PreflightError when that account cannot run a database, or cannot be made."""
    if account.uid == 0:
        raise PreflightError(
            f"the user {account.name} is root under another name",
            where="/etc/passwd",
            why="PostgreSQL refuses to run as root",
            hint=f"give the user {account.name} a uid of its own",
        )
    if account.exists:
        return
    if not account.dropped:
        raise PreflightError(
            f"this user has no name: uid {account.uid} is not in the list of users",
            where="/etc/passwd",
            why="PostgreSQL needs one",
            hint="run as a user that has an entry (in a container: `useradd -u UID NAME` in its image)",
        )
    if not shutil.which("useradd"):
        raise PreflightError(
            "as root the services need a user of their own, and useradd is not there to make it",
            where="PATH",
            hint=f"make a system user called {account.name}, or run provision as an ordinary user",
        )


def make_account(account: ServiceUser, home: Path, reporter: Reporter) -> ServiceUser:
    """Return the account as it exists; make it, without a login, when it does not."""
    if account.exists:
        return account
    argv = [
        "useradd",
        "--system",
        "--no-create-home",
        "--home-dir",
        str(home),
        "--shell",
        "/usr/sbin/nologin",
        account.name,
    ]
    try:
        process.run(argv)
    except CommandFailed:
        # Another `provision up` may have been quicker.
        if not system_account(account.name).exists:
            raise
    made = system_account(account.name)
    reporter.step("created", "user", f"{made.name} (uid {made.uid}): the services run as it, not as root")
    return made


def first_blocked(path: Path, account: ServiceUser) -> Path | None:
    """Return the topmost directory on the way to the path, or the path itself, that the account cannot enter.

    Return None when it can enter all of them.
    """
    # A relative part would be judged by our own working directory.
    whole = existing_parent(path.absolute())
    argv = ["/bin/sh", "-c", 'for d do cd "$d" 2>/dev/null || { printf %s "$d"; exit 0; }; done', "sh"]
    steps = [str(step) for step in (*reversed(whole.parents), whole)]
    seen = process.run(
        [*argv, *steps], cwd=Path("/"), env={"PATH": "/usr/bin:/bin"}, identity=account.identity
    ).text
    return Path(seen) if seen else None


def check_reachable(path: Path, account: ServiceUser, ours: Sequence[Path]) -> None:
    """Raise PreflightError when the account cannot get to the path.

    Directories of `ours` are opened for it later.
    """
    if not account.dropped:
        return
    blocked = first_blocked(path, account)
    if blocked is None or blocked in ours:
        return
    raise PreflightError(
        f"the user {account.name}, which the services run as, cannot reach the stack",
        where=str(path),
        why=f"{blocked} may not be entered by others",
        hint=(
            "choose a directory that others may enter, such as `provision up --stack /srv/mlflow`, "
            f"or `chmod o+x {blocked}`"
        ),
    )


def open_for_others(path: Path) -> None:
    """Let everybody enter and list the directory itself; leave those above it as they are."""
    mode = path.stat().st_mode
    if mode & 0o005 != 0o005:
        path.chmod((mode & 0o7777) | 0o055)
