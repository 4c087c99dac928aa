"""Which stack a command works on: found, read, and announced."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from provisioner.errors import PreflightError, ProvisionError, SettingsError
from provisioner.model.settings import SOURCE, Settings
from provisioner.model.settings_text import parse_settings
from provisioner.model.state import State, parse_state
from provisioner.output import Reporter
from provisioner.stack.context import LOOKALIKE, STATE_FILE, StackContext
from provisioner.stack.release import settings_as_made
from provisioner.stack.safeguards import refuse_copy, refuse_lost_state
from provisioner.system.host import Host, LocalHost
from provisioner.system.paths import data_directory
from provisioner.system.ssh import SSHHost

# Below the home directory of the account on the server.
REMOTE_FOLDER = "provision"
DEFAULT_REASON = "your default stack"


def open_stack(option: Path | None, reporter: Reporter) -> StackContext:
    """Return the stack that a command typed here works on, after saying which it is."""
    context = find_stack(option)
    context.announce(reporter)
    return context


def open_made_stack(option: Path | None, reporter: Reporter) -> StackContext:
    """Return the stack that a command typed here works on, after saying which it is.

    Raise Unhealthy when it was never brought up.
    """
    context = open_stack(option, reporter)
    if not context.is_made:
        raise context.never_made()
    return context


def reread(context: StackContext) -> StackContext:
    """Return the stack as its directory has it now."""
    return read_stack(context.source, context.reason, context.host)


def find_directory(option: Path | None, cwd: Path, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Return the stack directory and why it is that one.

    It is `--stack`, $PROVISION_STACK, the nearest provision.yml upwards, or the user's default.
    """
    if option is not None:
        return _without_dots(option), "--stack"
    if named := environ.get("PROVISION_STACK"):
        return _without_dots(Path(named)), "$PROVISION_STACK"
    for directory in (cwd, *cwd.parents):
        if (directory / SOURCE).is_file():
            _refuse_foreign(directory / SOURCE)
            return directory, f"the nearest {SOURCE}"
    return data_directory() / "stacks" / "default", DEFAULT_REASON


def read_stack(source: Path, reason: str, host: Host) -> StackContext:
    """Return the stack whose settings are in that directory; with default ones when it is absent or empty.

    Settings with `ssh` name a stack on that machine, reached anew unless `host` is it.
    """
    content = LocalHost().get(source / SOURCE)
    try:
        text = (content or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{SOURCE} is not UTF-8",
            where=f"{source / SOURCE}, byte {error.start}",
            hint="save it as UTF-8 in your editor",
        ) from error
    try:
        settings = parse_settings(text)
    except SettingsError as error:
        # Its words are short; the place is said in full.
        faults = [
            fault.with_(where=re.sub(f"^{re.escape(SOURCE)}", lambda _: str(source / SOURCE), fault.where))
            for fault in error.all()
        ]
        raise error.with_(faults=tuple(faults)) from error
    context = stack_with(source, reason, settings, host)
    if content is None and not context.state.project and (source / LOOKALIKE).is_file():
        what = f"{LOOKALIKE} is not read: the settings of a stack are in {SOURCE}"
        raise SettingsError(what, where=str(source / LOOKALIKE), hint=f"rename it to {SOURCE}")
    return context


def stack_with(source: Path, reason: str, settings: Settings, host: Host) -> StackContext:
    """Return the stack with those settings, whatever `provision.yml` says now.

    One of another release keeps those that it was made with.
    """
    if settings.ssh is None:
        directory, here = source, None
    else:
        there = host if isinstance(host, SSHHost) and host.name == settings.ssh else SSHHost(settings.ssh)
        host, directory, here = there, Path(there.facts["home"]) / REMOTE_FOLDER / settings.name, source
    context = StackContext(directory, reason, host, settings, State(), here)
    path = directory / STATE_FILE
    state = parse_state(host.get(path), f"{context.location}/{STATE_FILE}")
    made = settings_as_made(state, settings)
    return replace(context, state=state, settings=made or settings, asked=settings if made else None)


def stack_here(directory: Path) -> StackContext | None:
    """Return this machine's stack in that directory; None for one elsewhere, or one that cannot be read."""
    try:
        settings = parse_settings((LocalHost().get(directory / SOURCE) or b"").decode("utf-8"))
        return None if settings.ssh else stack_with(directory, "", settings, LocalHost())
    except (ProvisionError, UnicodeDecodeError):
        return None


def find_stack(option: Path | None) -> StackContext:
    """Return the stack that a command typed here works on."""
    directory, reason = find_directory(option, Path.cwd(), os.environ)
    if directory.exists() and not directory.is_dir():
        raise PreflightError(
            "a stack's directory is a file", where=str(directory), hint="name a directory by --stack"
        )
    context = read_stack(directory, reason, LocalHost())
    refuse_copy(context)
    refuse_lost_state(context)
    return context


def _without_dots(path: Path) -> Path:
    """Return the path in the one form that everything of a stack is named by: absolute, without `..`.

    A symbolic link stays one, except in a path with `..`.
    """
    path = path.absolute()
    # Only the file system knows where `..` leads behind a link.
    return path.resolve() if ".." in path.parts else path


def _refuse_foreign(path: Path) -> None:
    owner = path.stat().st_uid
    if owner != os.geteuid():
        raise PreflightError(
            f"{path} belongs to another user",
            where=str(path),
            why=f"owner {owner}, you are {os.geteuid()}: its settings decide what runs as you",
            hint=(
                f"say that you mean it with `--stack {shlex.quote(str(path.parent))}`, "
                "or work outside of that directory"
            ),
        )
