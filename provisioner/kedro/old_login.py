"""A login that a project has for another server: it goes to this one only when the user says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from provisioner.errors import EditRefused, LinkRefused
from provisioner.kedro.config import Reader, effective, read_layer
from provisioner.kedro.project import KedroProject
from provisioner.kedro.record import LinkRecord, OldLogin
from provisioner.model.login import LOGIN
from provisioner.system.files import read_file

Ask = Callable[[str], bool]


@dataclass(eq=False)
class OldLoginFound(LinkRefused):
    """The project has a login for another server, and nobody decided what becomes of it; `question` asks."""

    question: str = ""

    code: ClassVar[str] = "old_login"


@dataclass(frozen=True)
class OldLoginRule:
    """What is known of logins for other servers.

    That is the decision, the link that is there, and who the server says it is.
    """

    decision: OldLogin | None = None
    record: LinkRecord | None = None
    identity: str = ""

    def settled(self, uri: str) -> OldLogin | None:
        """Return the decision for the server there: this time's, else that of the last link to it.

        None means that there is none.
        """
        if self.decision or not self.record:
            return self.decision
        is_same = self._is_same_stack()
        if is_same is None:
            is_same = _address(self.record.uri) == _address(uri)
        return self.record.old_login if is_same else None

    def sends(self, project: KedroProject, env: str, name: str, uri: str) -> bool:
        """Return whether the project's runs already send the login of that name to this very server."""
        now = effective(project, env, read_file)
        is_there = now.credentials == name and now.uri is not None and _address(now.uri) == _address(uri)
        return is_there and self._is_same_stack() is not False

    def _is_same_stack(self) -> bool | None:
        """Return whether the stack there is the one of the last link.

        None means that either did not say which it is.
        """
        before = self.record.identity if self.record else ""
        return before == self.identity if before and self.identity else None


def is_login(project: KedroProject, env: str, name: str, read: Reader) -> bool:
    """Return whether that entry of credentials.yml is a login; what the files do not tell may be one."""
    entries: dict[str, Any] = {}
    for layer in dict.fromkeys((project.base_env, env)) if name else ():
        try:
            entries |= read_layer(project, layer, "credentials", read).data
        except EditRefused:
            return True
    named = entries.values() if "${" in name else [entries.get(name)]
    return any(LOGIN & entry.keys() if isinstance(entry, dict) else entry is not None for entry in named)


def undecided(project: KedroProject, name: str, old: str | None, uri: str) -> OldLoginFound:
    """Return the error that says what was found, and how to go on."""
    server = old if old and old.startswith("http") else "another server, as far as the files tell"
    return OldLoginFound(
        f"the project has a login, {name!r} in credentials.yml, that was made for {server}",
        where=str(project.path),
        why=f"every `kedro run` would send that user and password to {uri}",
        hint="link again with `--user NAME` for a login of this server, `--old-login remove` for none, "
        "or `--old-login keep` to send it",
        left_as="every file is as it was",
        question=f"The login {name!r} was made for {server}. Take it out of mlflow.yml for {uri} (unlink "
        "brings it back)?",
    )


def decided(found: OldLoginFound, ask: Ask | None) -> OldLogin:
    """Return the user's decision; raise the error itself when there is nobody to ask, or the answer is no."""
    if ask is None or not ask(found.question):
        raise found
    return "remove"


def _address(uri: str) -> tuple[str, str, int | None]:
    parts = urlsplit(uri)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, parts.hostname or uri, port or {"http": 80, "https": 443}.get(parts.scheme)
