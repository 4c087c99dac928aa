"""Which stack a command works on, and what its directory holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.errors import PreflightError, SettingsError, WouldLoseData
from provisioner.model.settings import SOURCE, Settings
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import RuntimeKind
from provisioner.model.state import State, parse_state
from provisioner.runtimes.base import RenderedFile
from provisioner.system.host import Host, LocalHost
from provisioner.system.paths import data_directory

STATE_FILE = "state.json"
COMPOSE_FILE = "docker-compose.yml"
# Compose takes these, where they are, in place of ours.
PREFERRED_COMPOSE_FILES = ("compose.yaml", "compose.yml")
CA_FILE = "ca.crt"
MARK = b"# Made by `provision`"
GITIGNORE = b"# Made by `provision`: what must not be committed.\nsecrets/\ndata/\nlogs/\nstate.json\n.env\n.lock\nca.crt\n"


@dataclass(frozen=True)
class OpenStack:
    """A stack's directory with what stands in it; `reason` says why it is this one."""

    directory: Path
    reason: str
    host: Host
    settings: Settings
    state: State

    @property
    def project(self) -> str:
        """The unique name of the stack's services: fixed when the stack is made."""
        if self.state.project:
            return self.state.project
        path = hashlib.sha256(str(self.directory).encode()).hexdigest()
        return f"{self.settings.name}-{path[:6]}"

    def save(self, state: State) -> OpenStack:
        """The stack with that state, kept in its directory."""
        if state != self.state:
            self.host.put(state.text(), self.directory / STATE_FILE, 0o644)
        return replace(self, state=state)

    def again(self) -> OpenStack:
        """The stack as its directory has it now."""
        return open_stack(self.directory, self.reason, self.host)


def find_directory(option: Path | None, cwd: Path, environ: Mapping[str, str]) -> tuple[Path, str]:
    """The stack directory and why: `--stack`, $PROVISION_STACK, the nearest provision.yml upwards, the user's default."""
    if option is not None:
        return option.absolute(), "--stack"
    if named := environ.get("PROVISION_STACK"):
        return Path(named).absolute(), "$PROVISION_STACK"
    for directory in (cwd, *cwd.parents):
        if (directory / SOURCE).is_file():
            _refuse_foreign(directory / SOURCE)
            return directory, f"the nearest {SOURCE}"
    return data_directory() / "stacks" / "default", "your default stack"


def open_stack(directory: Path, reason: str, host: Host) -> OpenStack:
    """The stack in that directory; an absent or empty one is a stack with default settings."""
    content = host.get(directory / SOURCE)
    try:
        text = (content or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{SOURCE} is not UTF-8", where=f"{directory / SOURCE}, byte {error.start}") from None
    state_path = directory / STATE_FILE
    return OpenStack(directory, reason, host, parse_settings(text), parse_state(host.get(state_path), str(state_path)))


def find_stack(option: Path | None) -> OpenStack:
    """The stack that a command typed here works on."""
    directory, reason = find_directory(option, Path.cwd(), os.environ)
    return open_stack(directory, reason, LocalHost())


def clients_ca(opened: OpenStack) -> bytes | None:
    """The private certificates that clients need to believe the front door; None when they need none, or it never ran."""
    return opened.host.get(opened.directory / CA_FILE)


def changed_files(opened: OpenStack, files: Mapping[str, RenderedFile]) -> dict[str, RenderedFile]:
    """The rendered files that the directory lacks or has otherwise."""
    return {path: file for path, file in files.items() if opened.host.get(opened.directory / path) != file.content}


def write_files(opened: OpenStack, files: Mapping[str, RenderedFile]) -> None:
    """The files in the stack directory, each whole; ask `refuse_others_files` first."""
    for path, file in files.items():
        opened.host.put(file.content, opened.directory / path, file.mode)
    if opened.host.get(opened.directory / ".gitignore") is None:
        opened.host.put(GITIGNORE, opened.directory / ".gitignore", 0o644)


def refuse_others_files(opened: OpenStack, files: Mapping[str, RenderedFile], kind: RuntimeKind) -> None:
    """WouldLoseData when a file of somebody else stands where one of ours goes, or would be taken for ours by Compose."""
    if kind == "docker":
        for name in PREFERRED_COMPOSE_FILES:
            if opened.host.get(opened.directory / name) is not None:
                raise _others_file(opened, name)
    made = opened.host.get(opened.directory / COMPOSE_FILE)
    if opened.state.project or (made is not None and made.startswith(MARK)):
        return
    for path, file in files.items():
        there = opened.host.get(opened.directory / path)
        if there is not None and there != file.content and not there.startswith(MARK):
            raise _others_file(opened, path)


def _others_file(opened: OpenStack, path: str) -> WouldLoseData:
    return WouldLoseData(
        f"{path} is there and was not made by provision",
        where=str(opened.directory / path),
        hint="give the stack a directory of its own: `provision init --stack ./mlflow-stack`",
    )


def _refuse_foreign(path: Path) -> None:
    owner = path.stat().st_uid
    if owner != os.geteuid():
        raise PreflightError(
            f"{path} belongs to another user",
            where=str(path),
            why=f"owner {owner}, you are {os.geteuid()}: its settings decide what runs as you",
            hint=f"say that you mean it with `--stack {path.parent}`, or work outside of that directory",
        )
