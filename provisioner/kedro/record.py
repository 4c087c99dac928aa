"""What is remembered of a linked project, in the user's state directory: first bytes and what was written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from provisioner.errors import ProvisionError
from provisioner.system.files import read_file, remove_file, replace_file
from provisioner.system.host import LocalHost
from provisioner.system.paths import state_directory
from provisioner.yaml_edit.edit import Change

RECORD = "record.json"
CA_FILE = "server-ca.crt"
_PRIVATE = 0o600
OldLogin = Literal["keep", "remove"]


@dataclass(frozen=True)
class OwnedValue:
    """A value that we set: its path of keys, and a hash of it, so that a password stays unknown."""

    path: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class FileRecord:
    """A file that we wrote: was it there, its mode then, its hash after, has it a password.

    The hash is "" when the file has others' changes.
    """

    path: str
    existed: bool
    sha256: str
    mode: int | None
    private: bool
    owned: tuple[OwnedValue, ...]

    @property
    def backup(self) -> str:
        """Return the name under which its first bytes are kept."""
        return f"{digest(self.path.encode())[:16]}.first"


@dataclass(frozen=True)
class LinkRecord:
    """A linked project: to which stack and URI, and every file and folder that this changed."""

    project: str
    stack: str
    uri: str
    env: str
    files: tuple[FileRecord, ...] = ()
    folders: tuple[str, ...] = ()
    proved: str = ""
    identity: str = ""
    """Which stack answered there; "" where none said."""
    old_login: OldLogin | None = None
    """What was decided about a login that the project had for another server; None where it had none."""
    python: str = ""
    """The interpreter that the user gave for the proof; "" where none was given."""


def digest(content: bytes) -> str:
    """Return the content's SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def owned_value(change: Change) -> OwnedValue:
    """Return what is recorded of a change."""
    return OwnedValue(change.path, value_digest(change.value))


def value_digest(value: object) -> str:
    """Return a hash of a configuration value."""
    return digest(json.dumps(value, sort_keys=True, default=str).encode())


def record_folder(project: Path) -> Path:
    """Return the folder where the project's record is kept."""
    return state_directory() / "links" / digest(str(project).encode())[:24]


@contextlib.contextmanager
def holding(folder: Path, command: str) -> Iterator[None]:
    """Hold the record until the context ends; leave nothing of it when no link was recorded."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with LocalHost().lock(folder, command):
            yield
    finally:
        if not (folder / RECORD).exists():
            forget(folder)


def load_record(folder: Path) -> LinkRecord | None:
    """Return the record in the folder; None when the project is not linked.

    Raise ProvisionError when it is damaged.
    """
    content = read_file(folder / RECORD)
    if content is None:
        return None
    try:
        return _parse(json.loads(content))
    except (ValueError, KeyError, TypeError) as error:
        raise ProvisionError(
            "the record of this project's link is damaged",
            where=str(folder / RECORD),
            hint=f"the project's first files are kept beside it; copy what you need, then remove {folder}",
        ) from error


def save_record(folder: Path, record: LinkRecord, first: Sequence[tuple[FileRecord, bytes | None]]) -> None:
    """Keep the record, and the first bytes of those files."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file, content in first:
        if content is not None:
            replace_file(folder / file.backup, content, _PRIVATE)
    replace_file(folder / RECORD, json.dumps(_document(record), indent=2).encode(), _PRIVATE)


def keep_ca(folder: Path, content: bytes | None) -> None:
    """Keep the certificates that the linked project's client trusts the server by; remove them for None."""
    if content is None:
        remove_file(folder / CA_FILE)
    else:
        replace_file(folder / CA_FILE, content, _PRIVATE)


def forget(folder: Path) -> None:
    """Remove the record, with all that is kept beside it."""
    shutil.rmtree(folder, ignore_errors=True)


def first_bytes(folder: Path, file: FileRecord) -> bytes | None:
    """Return the file as it was before the first link; None when there was none.

    Raise ProvisionError when its first bytes are gone.
    """
    if not file.existed:
        return None
    content = read_file(folder / file.backup)
    if content is None:
        where = str(folder / file.backup)
        raise ProvisionError(
            f"the first bytes of {file.path} are gone", where=where, hint="edit the file by hand"
        )
    return content


def linked_projects(stack: str) -> list[Path]:
    """Return the projects linked to that stack that are still there."""
    return sorted(Path(record.project) for record in records_of(stack))


def records_of(stack: str) -> list[LinkRecord]:
    """Return the links to that stack of projects that are still there."""
    return [record for record in _records() if record.stack == stack and Path(record.project).is_dir()]


def used_elsewhere(project: Path, file: FileRecord) -> bool:
    """Return whether the link of another project has the same file.

    Such a file is none of the project's own.
    """
    others = (record for record in _records() if record.project != str(project))
    return Path(file.path).is_absolute() and any(
        file.path == known.path for record in others for known in record.files
    )


def _records() -> Iterator[LinkRecord]:
    for path in sorted((state_directory() / "links").glob(f"*/{RECORD}")):
        try:
            record = load_record(path.parent)
        except ProvisionError:
            continue
        if record is not None:
            yield record


def _document(record: LinkRecord) -> dict[str, Any]:
    document = asdict(record)
    for file in document["files"]:
        # As it is called in records that are there.
        file["marks"] = file.pop("owned")
    return document


def _parse(document: dict[str, Any]) -> LinkRecord:
    files = tuple(
        FileRecord(
            file["path"],
            file["existed"],
            file["sha256"],
            file["mode"],
            file["private"],
            tuple(OwnedValue(tuple(known["path"]), known["sha256"]) for known in file["marks"]),
        )
        for file in document["files"]
    )
    return LinkRecord(
        document["project"],
        document["stack"],
        document["uri"],
        document["env"],
        files,
        tuple(document["folders"]),
        document["proved"],
        document.get("identity", ""),
        document.get("old_login"),
        document.get("python", ""),
    )
