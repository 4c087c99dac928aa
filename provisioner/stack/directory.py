"""Which stack a command works on, and what its directory holds."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.errors import PreflightError, ProvisionError, SettingsError, WouldLoseData
from provisioner.model.settings import SOURCE, Settings
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import RuntimeKind
from provisioner.model.state import State, parse_state
from provisioner.output import Reporter
from provisioner.runtimes.base import RenderedFile
from provisioner.system.files import file_mode
from provisioner.system.host import Host, LocalHost
from provisioner.system.paths import data_directory
from provisioner.system.ssh import SSHHost

STATE_FILE = "state.json"
COMPOSE_FILE = "docker-compose.yml"
# Compose takes these, where they are, in place of ours.
PREFERRED_COMPOSE_FILES = ("compose.yaml", "compose.yml")
CA_FILE = "ca.crt"
# Below the home directory of the account on the server.
REMOTE_FOLDER = "provision"
DEFAULT_REASON = "your default stack"
# A usual ending for YAML, but not the one that settings have.
LOOKALIKE = f"{Path(SOURCE).stem}.yaml"
MARK = b"# Made by `provision`"
GITIGNORE = b"# Made by `provision`: what must not be committed.\nsecrets/\ndata/\nlogs/\nstate.json\n.env\n.lock\nca.crt\n"


@dataclass(frozen=True)
class OpenStack:
    """A stack's directory on its host with what stands in it; `reason` says why it is this one."""

    directory: Path
    reason: str
    host: Host
    settings: Settings
    state: State
    here: Path | None = None
    """The directory of this machine that has the settings of a stack on another."""

    @property
    def source(self) -> Path:
        """Return the directory of `provision.yml` and the files that it names, on this machine."""
        return self.here or self.directory

    @property
    def place(self) -> str:
        """Return the stack's directory, with its host where that is another machine."""
        return f"{self.host.name}:{self.directory}" if self.host.name else str(self.directory)

    def own_file(self, name: str) -> bytes | None:
        """Return the content of a user's file that a setting names; None when it is not there."""
        return LocalHost().get(self.source / name)

    def announce(self, reporter: Reporter) -> None:
        """Say which stack it is, and why; and which file is not read that somebody may take for its settings."""
        reporter.note("stack", f"{self.source} ({self.reason})")
        for path in {self.source / LOOKALIKE, Path.cwd() / LOOKALIKE}:
            if path.is_file():
                reporter.step("warning", LOOKALIKE, f"{path} is not read: the settings of a stack are in {SOURCE}")
        if self.host.name:
            reporter.note("host", self.place)

    @property
    def project(self) -> str:
        """Return the unique name of the stack's services: fixed when the stack is made."""
        if self.state.project:
            return self.state.project
        path = hashlib.sha256(str(self.directory).encode()).hexdigest()
        return f"{self.settings.name}-{path[:6]}"

    def save(self, state: State) -> OpenStack:
        """Save the state in the stack's directory, and return the stack with it."""
        if state != self.state:
            self.host.put(state.text(), self.directory / STATE_FILE, 0o644)
        return replace(self, state=state)

    def again(self) -> OpenStack:
        """Return the stack as its directory has it now."""
        return open_stack(self.source, self.reason, self.host)


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


def _without_dots(path: Path) -> Path:
    """Return the path in the one form that everything of a stack is named by: absolute, without `..`.

    A symbolic link stays one, except in a path with `..`.
    """
    path = path.absolute()
    # Only the file system knows where `..` leads behind a link.
    return path.resolve() if ".." in path.parts else path


def open_stack(source: Path, reason: str, host: Host) -> OpenStack:
    """Return the stack whose settings are in that directory; with default ones when it is absent or empty.

    Settings with `ssh` name a stack on that machine, reached anew unless `host` is it.
    """
    content = LocalHost().get(source / SOURCE)
    try:
        text = (content or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{SOURCE} is not UTF-8", where=f"{source / SOURCE}, byte {error.start}") from None
    try:
        settings = parse_settings(text)
    except SettingsError as error:
        for fault in error.all():
            fault.where = re.sub(f"^{re.escape(SOURCE)}", lambda _: str(source / SOURCE), fault.where)
        raise
    opened = opened_as(source, reason, settings, host)
    if content is None and not opened.state.project and (source / LOOKALIKE).is_file():
        what = f"{LOOKALIKE} is not read: the settings of a stack are in {SOURCE}"
        raise SettingsError(what, where=str(source / LOOKALIKE), hint=f"rename it to {SOURCE}")
    return opened


def opened_as(source: Path, reason: str, settings: Settings, host: Host) -> OpenStack:
    """Return the stack with those settings, whatever `provision.yml` says now."""
    if settings.ssh is None:
        directory, here = source, None
    else:
        there = host if isinstance(host, SSHHost) and host.name == settings.ssh else SSHHost(settings.ssh)
        host, directory, here = there, Path(there.facts["home"]) / REMOTE_FOLDER / settings.name, source
    opened = OpenStack(directory, reason, host, settings, State(), here)
    path = directory / STATE_FILE
    return replace(opened, state=parse_state(host.get(path), f"{opened.place}/{STATE_FILE}"))


def stack_here(directory: Path) -> OpenStack | None:
    """Return this machine's stack in that directory; None for one elsewhere, or one that cannot be read."""
    try:
        settings = parse_settings((LocalHost().get(directory / SOURCE) or b"").decode("utf-8"))
        return None if settings.ssh else opened_as(directory, "", settings, LocalHost())
    except (ProvisionError, UnicodeDecodeError):
        return None


def find_stack(option: Path | None) -> OpenStack:
    """Return the stack that a command typed here works on."""
    directory, reason = find_directory(option, Path.cwd(), os.environ)
    if directory.exists() and not directory.is_dir():
        raise PreflightError("a stack's directory is a file", where=str(directory), hint="name a directory by --stack")
    return open_stack(directory, reason, LocalHost())


def clients_ca(opened: OpenStack) -> bytes | None:
    """Return the private certificates that clients need to trust the proxy.

    None when they need none, or it never ran.
    """
    return opened.host.get(opened.directory / CA_FILE)


def changed_files(opened: OpenStack, files: Mapping[str, RenderedFile]) -> dict[str, RenderedFile]:
    """Return the rendered files that the directory lacks or has otherwise; on a server also the settings."""
    if opened.here:
        files = {**files, SOURCE: RenderedFile(opened.own_file(SOURCE) or b"")}
    there = opened.host.read([opened.directory / path for path in files])
    return {path: file for path, file in files.items() if there[opened.directory / path] != file.content}


def closed_files(opened: OpenStack, files: Mapping[str, RenderedFile]) -> dict[str, RenderedFile]:
    """Return the rendered files that other users, such as a container's, cannot read.

    The cause is the mode of the file or of a directory above it; on a server there are none.
    """
    if opened.host.name:
        # There they are made by a shell of ours, with a umask of ours.
        return {}
    return {path: file for path, file in files.items() if not _is_open(opened.directory, Path(path), file.mode)}


def _is_open(directory: Path, path: Path, mode_of_file: int) -> bool:
    wanted = {path: mode_of_file & 0o004} | dict.fromkeys(_folders(path), 0o005)
    modes = {part: file_mode(directory / part) for part in wanted}
    return all(mode is None or mode & wanted[part] == wanted[part] for part, mode in modes.items())


def _folders(path: Path) -> list[Path]:
    """Return the directories above a file, below the stack's own, outermost first."""
    return list(reversed(path.parents))[1:]


def write_files(opened: OpenStack, files: Mapping[str, RenderedFile]) -> None:
    """Write the files into the stack directory, each whole; call `refuse_others_files` first."""
    put_files(opened.host, opened.directory, files)
    if opened.host.get(opened.directory / ".gitignore") is None:
        opened.host.put(GITIGNORE, opened.directory / ".gitignore", 0o644)


def put_files(host: Host, directory: Path, files: Mapping[str, RenderedFile]) -> None:
    """Write the files below the directory, for other users to read as well.

    A container reads them, or an image is built from them.
    """
    for folder in dict.fromkeys(folder for path in files for folder in _folders(Path(path))):
        host.make_directory(directory / folder, 0o755)
    for path, file in files.items():
        host.put(file.content, directory / path, file.mode)


def refuse_others_files(opened: OpenStack, files: Mapping[str, RenderedFile], kind: RuntimeKind) -> None:
    """Raise WouldLoseData for another's file where one of ours goes, or that Compose would take for ours."""
    looked_at = opened.host.read([opened.directory / path for path in {*PREFERRED_COMPOSE_FILES, COMPOSE_FILE, ".gitignore", *files}])
    if kind == "docker":
        for name in PREFERRED_COMPOSE_FILES:
            if looked_at[opened.directory / name] is not None:
                raise _others_file(opened, name)
    # An erased stack has left these two: one of them on each runtime.
    left = [looked_at[opened.directory / name] or b"" for name in (COMPOSE_FILE, ".gitignore")]
    if opened.state.project or any(content.startswith(MARK) for content in left):
        return
    for path, file in files.items():
        there = looked_at[opened.directory / path]
        if there is not None and there != file.content and not there.startswith(MARK):
            raise _others_file(opened, path)


def _others_file(opened: OpenStack, path: str) -> WouldLoseData:
    return WouldLoseData(
        f"{path} is there and was not made by provision",
        where=f"{opened.place}/{path}",
        hint="give the stack a directory of its own: `provision init --stack ./mlflow-stack`",
    )


def _refuse_foreign(path: Path) -> None:
    owner = path.stat().st_uid
    if owner != os.geteuid():
        raise PreflightError(
            f"{path} belongs to another user",
            where=str(path),
            why=f"owner {owner}, you are {os.geteuid()}: its settings decide what runs as you",
            hint=f"say that you mean it with `--stack {shlex.quote(str(path.parent))}`, or work outside of that directory",
        )
