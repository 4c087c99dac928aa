"""A stack on a server: `ssh` written into its settings, the server looked at, then the same `up`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from provisioner.actions.status import Services
from provisioner.actions.up import UpOptions, bring_up
from provisioner.errors import PreflightError, WouldLoseData
from provisioner.model.settings import SOURCE, Settings
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.model.state import parse_state
from provisioner.output import NOTHING_CHANGED, ComposeProject, Data, Reporter, Result, TrackingUri
from provisioner.remote.images import ship_images
from provisioner.remote.preflight import check_server
from provisioner.remote.settings import Address, settings_for
from provisioner.runtimes.docker.runtime import OVERRIDE_FILE
from provisioner.stack.ca_bundle import ca_path
from provisioner.stack.context import STATE_FILE, StackContext
from provisioner.stack.find import DEFAULT_REASON, REMOTE_FOLDER, find_directory, stack_with
from provisioner.stack.release import refuse_changed_settings
from provisioner.system.host import LocalHost
from provisioner.system.http import Rest, RestError
from provisioner.system.paths import data_directory
from provisioner.system.ssh import SSHHost

_ANOTHER = "`--stack DIR` with another directory"


@dataclass(frozen=True)
class DeployData(Data):
    """What `deploy` gives; of a dry run no services."""

    command: ClassVar[str] = "deploy"

    tracking_uri: TrackingUri
    compose_project: ComposeProject
    host: Annotated[str, "the server, as `ssh` is told"]
    services: Services | None = None


@dataclass(frozen=True)
class DeployOptions:
    """What the user asked of `deploy`."""

    host: str | None = None
    domain: str | None = None
    port: int | None = None
    stack: Path | None = None
    domain_elsewhere: bool = False
    ship_images: bool = False
    break_lock: bool = False
    dry_run: bool = False


def deploy(options: DeployOptions, reporter: Reporter) -> Result:
    """Bring up and check the stack on the server; change nothing that is already as wanted.

    Raise PreflightError before any change when something is missing there.
    """
    source, reason = _which(options.stack)
    reporter.using(stack=str(source), runtime="docker")
    reporter.note("stack", f"{source} ({reason})")
    before = LocalHost().get(source / SOURCE)
    settings = parse_settings((before or b"").decode("utf-8", errors="replace"))
    host = SSHHost(_destination(options.host, settings))
    _refuse_data_elsewhere(source, settings, host.name)
    if before is None:
        before = _settings_there(host, settings, reporter)
    address = Address(host.name, host.connection.resolved().get("hostname", ""), options.domain, options.port)
    content, changes = settings_for(before or b"", address)
    context = stack_with(source, reason, parse_settings(content.decode()), host)
    reporter.note("host", context.location)
    context.announce_release(reporter)
    refuse_changed_settings(context.state, context.asked or context.settings)
    check_server(context, host, options.domain_elsewhere, reporter)
    if LocalHost().get(source / OVERRIDE_FILE) is not None:
        reporter.warn(OVERRIDE_FILE, f"the one here is not used; Compose reads the one in {context.location}")
    for key, value in changes.items():
        reporter.step("would set" if options.dry_run else "set", key, value)
    if not options.dry_run:
        _begin(context, host, content, options.break_lock, reporter)
        if options.ship_images:
            ship_images(context, host, reporter)
    context, rows = bring_up(context, UpOptions(dry_run=options.dry_run), reporter, "deploy")
    lines = (NOTHING_CHANGED,) if options.dry_run else _what_now(context, reporter)
    return Result(DeployData(context.tracking_uri, context.project, host.name, rows), lines)


def _begin(
    context: StackContext, host: SSHHost, content: bytes, break_lock: bool, reporter: Reporter
) -> None:
    """Write the settings on this machine; with `break_lock` also break a lock held on the server."""
    if content != LocalHost().get(context.source / SOURCE):
        LocalHost().put(content, context.source / SOURCE, 0o644)
    if break_lock and (holder := host.break_lock(context.directory)):
        reporter.step("broken", "lock", f"of {holder}")


def _which(option: Path | None) -> tuple[Path, str]:
    """Return the stack's directory and why it is that one, as for other commands.

    In place of the default stack take the current directory; raise WouldLoseData where the default was named.
    """
    directory, reason = find_directory(option, Path.cwd(), os.environ)
    default = data_directory() / "stacks" / "default"
    if directory == default:
        if option is not None or reason != DEFAULT_REASON:
            raise _refused(
                directory,
                f"{DEFAULT_REASON} stays on this machine",
                "leave --stack out in an empty directory",
            )
        return Path.cwd(), "a new one in the current directory"
    return directory, reason


def _destination(given: str | None, settings: Settings) -> str:
    if given is None:
        if settings.ssh is None:
            raise PreflightError(
                "no server is named", where=f"{SOURCE} has no `ssh`", hint="`provision deploy USER@HOST`"
            )
        return settings.ssh
    # The same rule as in the file, with its words.
    return parse_settings(f"ssh: {given!r}", "the command line").ssh or given


def _refuse_data_elsewhere(source: Path, settings: Settings, destination: str) -> None:
    """Raise WouldLoseData for a stack of this machine, or of another server."""
    state = parse_state(LocalHost().get(source / STATE_FILE), str(source / STATE_FILE))
    if settings.ssh is None and state.runtime:
        raise _refused(
            source, "this stack was made on this machine; its data is here", f"{_ANOTHER} makes a new one"
        )
    if settings.ssh and settings.ssh != destination:
        what = f"this stack is on {settings.ssh}; its data is there"
        raise _refused(
            source, what, f"`provision deploy {settings.ssh}` changes it; {_ANOTHER} makes a new one"
        )


def _refused(directory: Path, what: str, hint: str) -> WouldLoseData:
    return WouldLoseData(what, where=str(directory / SOURCE), hint=hint)


def _settings_there(host: SSHHost, settings: Settings, reporter: Reporter) -> bytes | None:
    """Return the settings that another admin deployed to this account; None when nobody did."""
    found = host.get(Path(host.facts["home"]) / REMOTE_FOLDER / settings.name / SOURCE)
    if found is not None:
        reporter.step("taken", SOURCE, f"from {host.name}, where this stack is already")
    return found


def _what_now(context: StackContext, reporter: Reporter) -> tuple[str, ...]:
    """Return lines for the admin; report whether this machine reaches the server as everybody else does."""
    ca, uri = ca_path(context), context.tracking_uri
    try:
        Rest(uri, timeout=5, trusted=ca).get_bytes("/health")
        reporter.step("reached", "from here", f"{uri} answers this machine")
    except RestError as error:
        reporter.warn(
            "from here", f"{error}; is the port open in the firewall between, and the name known here?"
        )
    lines = [
        f"tracking URI  {uri}",
        f"login         {ADMIN_LOGIN}: `provision credentials` shows the password",
        (
            f"settings      {context.source / SOURCE}: keep it, "
            f"with it every `provision` command acts on {context.host.name}"
        ),
    ]
    if ca:
        lines.append(f"certificates  {ca}: what clients trust the server by; `provision link` hands them on")
    return (*lines, "next          provision user add NAME", "next          provision link PROJECT")
