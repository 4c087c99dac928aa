"""What a link is asked for, and what it will write and prove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from provisioner.kedro.introspection import Interpreter
from provisioner.kedro.project import KedroProject
from provisioner.kedro.record import LinkRecord, OldLogin
from provisioner.kedro.staged_edits import StagedFile
from provisioner.model.login import PASSWORD, USERNAME
from provisioner.model.secret import Secret
from provisioner.system.certificates import CERT_PATH
from provisioner.system.files import read_file


@dataclass(frozen=True)
class Credentials:
    """A login of the tracking server."""

    username: str
    password: Secret


@dataclass(frozen=True)
class ClientEntry:
    """What an entry of credentials.yml tells MLflow's client: a login, and which certificates to trust."""

    credentials: Credentials | None = None
    ca_file: Path | None = None

    def __bool__(self) -> bool:
        return self.credentials is not None or self.ca_file is not None

    def values(self) -> dict[str, str]:
        """Return the variables that kedro-mlflow exports, with the password in clear."""
        login = (
            {USERNAME: self.credentials.username, PASSWORD: self.credentials.password.reveal()}
            if self.credentials
            else {}
        )
        return login | ({CERT_PATH: str(self.ca_file)} if self.ca_file else {})


@dataclass(frozen=True)
class Wanted:
    """What a link is asked for: the address, what the client is to send, and where.

    `has_login` wherever the login is kept.
    """

    uri: str
    client: ClientEntry
    has_login: bool = False
    env: str | None = None


@dataclass
class Placement:
    """What a link will write and prove: in which environment, under which login entry.

    Also what a person should know.
    """

    env: str
    proof_env: str
    entry: str = ""
    old_login: OldLogin | None = None
    """What becomes of a login for another server; None where the project has none."""
    remarks: list[tuple[str, str, str]] = field(default_factory=list)
    """What is done, or left, beside what the files show: steps, as a reporter takes them."""
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """What is not as its user may think, by subject."""


@dataclass(frozen=True)
class Work:
    """A link that is decided: what it is to write, and what decides its proof."""

    project: KedroProject
    folder: Path
    record: LinkRecord | None
    placement: Placement
    files: Sequence[StagedFile]
    wanted: Wanted
    stack: str
    identity: str
    ca: bytes | None
    interpreter: Interpreter
    reuse_proof: bool

    @property
    def uri(self) -> str:
        return self.wanted.uri

    @property
    def client(self) -> ClientEntry:
        return self.wanted.client

    def reader(self, path: Path) -> bytes | None:
        """Read the file as it was when this link began: its lines are still right after a rollback."""
        before = {file.path: file.now for file in self.files}
        return before[path] if path in before else read_file(path)

    @property
    def changed(self) -> list[StagedFile]:
        return [file for file in self.files if file.changed]


def stack_of(work: Work) -> str:
    """Return the directory of the stack; "" when it is not known.

    It is that of the last link where the same stack answers and only its address was typed.
    """
    before = work.record
    is_same = before is not None and before.identity and before.identity == work.identity
    return work.stack or (before.stack if before and is_same else "")
