"""An embedded stack's directories: made, owned by the services' account, removed without following links."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from provisioner.errors import PreflightError, WouldLoseData
from provisioner.runtimes.embedded.processes import DIRECTORIES, LOG_NAMES, OWN_DATA, SECRETS
from provisioner.runtimes.embedded.service_user import ServiceUser, open_for_others
from provisioner.runtimes.embedded.supervisord_conf import LOGS
from provisioner.system.files import remove_empty_folder
from provisioner.system.host import refuse_link

DATA = "data"
# Unix socket paths are limited to 107 bytes on Linux and 103 on macOS, where TMPDIR is long.
_RUN_BASE = Path("/tmp")  # noqa: S108
_RUN_PREFIX = "provision-"


def check_owner(directory: Path, account: ServiceUser) -> None:
    """Raise PreflightError when the data or logs are there and are another user's."""
    for name in (DATA, LOGS):
        path = directory / name
        if not os.path.lexists(path):
            continue
        found = path.lstat()
        if account.exists and found.st_uid not in ({account.uid, 0} if account.dropped else {account.uid}):
            raise PreflightError(
                f"the data of this stack belongs to another user (uid {found.st_uid})",
                where=str(path),
                why=f"the services would run as {account.name} (uid {account.uid})",
                hint="use the user who made the stack, or make another one: `provision up --stack DIR`",
            )


def openable(directory: Path, data: Path) -> list[Path]:
    """Return the directories that are ours to open for the services' account.

    They are the stack's, our own data directory, and those between the two.
    """
    between = [path for path in directory.parents if path == data or data in path.parents]
    return [directory, *between, data]


def make_directories(directory: Path, secrets: Iterable[str], account: ServiceUser) -> None:
    """Make every directory that the services write to, private to their account.

    Open to it what they only read; `secrets` are the names of the stack's.
    """
    for name in (DATA, LOGS, *DIRECTORIES):
        path = directory / name
        path.mkdir(mode=0o700, exist_ok=True)
        _give(path, account)
    if not account.dropped:
        return
    own_secrets(directory, secrets, account)
    open_for_others(directory)
    deploy = directory / "deploy"
    for path in (
        deploy,
        *(below for below in deploy.rglob("*") if below.is_dir() and not below.is_symlink()),
    ):
        open_for_others(path)


def own_secrets(directory: Path, names: Iterable[str], account: ServiceUser) -> None:
    """Give the account, as root, the directory of the secrets, and of what is in it the stack's own ones.

    Raise PreflightError when the directory is a link. Do nothing while there is no account.
    """
    folder = directory / SECRETS
    refuse_link(folder)
    if not account.exists:
        return
    for path in (folder, *(folder / name for name in names)):
        if os.path.lexists(path):
            _give(path, account)


def is_run_directory(path: Path, account: ServiceUser) -> bool:
    """Return whether it is there, is ours and no link, and only the account can enter it.

    Others may write below /tmp too.
    """
    try:
        found = path.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    return (
        private
        and found.st_uid == account.uid
        and path.parent == _RUN_BASE
        and path.name.startswith(_RUN_PREFIX)
    )


def make_run_directory(account: ServiceUser) -> Path:
    """Make a new short private directory for unix sockets, and return it."""
    path = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX, dir=_RUN_BASE))
    _give(path, account)
    return path


def remove_run_directory(path: Path, account: ServiceUser) -> None:
    """Remove the directory, if it is one of ours."""
    if is_run_directory(path, account):
        shutil.rmtree(path, ignore_errors=True)


def refuse_links(directory: Path) -> None:
    """Raise WouldLoseData when what is to be removed is a link to somewhere else."""
    for path in (directory / DATA, directory / LOGS):
        if path.is_symlink():
            raise WouldLoseData(
                f"{path.name} is a link to {path.readlink()}, outside of what this stack may remove",
                where=str(path),
                hint=(
                    "remove the link and what it leads to yourself, then `provision erase` again: "
                    f"`rm {path}`"
                ),
            )


def remove_data(directory: Path) -> list[str]:
    """Remove the data and logs of the stack, and return what was removed.

    Nothing else in their folders is removed (a Kedro project has a `data` too). Raise WouldLoseData when one
    of those folders is a link.
    """
    refuse_links(directory)
    ours = [directory / name for name in OWN_DATA if (directory / name).exists()]
    logs = [path for name in LOG_NAMES for path in sorted((directory / LOGS).glob(f"{name}.log*"))]
    for path in (*ours, *logs):
        # A link is removed, not followed.
        remove_tree(path)
    for name in (DATA, LOGS):
        remove_empty_folder(directory / name)
    return [str(path.relative_to(directory)) for path in ours] + ([LOGS] if logs else [])


def remove_tree(path: Path) -> None:
    """Remove what is there, even where a process that was killed still writes.

    A directory is moved aside first; raise OSError where it cannot be removed on a full disk.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        try:
            aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        except OSError:
            # A full disk has no room for another directory.
            shutil.rmtree(path)
            return
        path.rename(aside / path.name)
        shutil.rmtree(aside, ignore_errors=True)


def _give(path: Path, account: ServiceUser) -> None:
    if account.dropped:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
