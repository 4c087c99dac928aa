"""A link being decided: files as they shall be, beside what they are and first were; it writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.kedro.project import KedroProject
from provisioner.kedro.record import (
    FileRecord,
    LinkRecord,
    OwnedValue,
    digest,
    first_bytes,
    owned_value,
    value_digest,
)
from provisioner.system.files import file_mode, read_file
from provisioner.yaml_edit.edit import Change, edit, read
from provisioner.yaml_edit.nodes import refused

PRIVATE = 0o600


@dataclass(frozen=True)
class StagedFile:
    """A file: its bytes now, after, and before the first link; `mode` to write it with (None keeps it)."""

    path: Path
    now: bytes | None
    after: bytes | None
    first: bytes | None
    record: FileRecord
    mode: int | None
    mode_now: int | None

    @property
    def changed(self) -> bool:
        """Return whether there is anything to write."""
        return self.after != self.now


class StagedEdits:
    """The project's files with changes on top: reading gives what would be there."""

    def __init__(self, project: KedroProject, record: LinkRecord | None, folder: Path) -> None:
        self._project = project
        self._old = {project.path / file.path: file for file in record.files} if record else {}
        self._first = {path: first_bytes(folder, file) for path, file in self._old.items()}
        self._contents: dict[Path, bytes | None] = {path: self._start(path) for path in self._old}
        self._changes: dict[Path, list[Change]] = {}
        self._private: set[Path] = set()

    def read(self, path: Path) -> bytes | None:
        """Return the file as it would be; None when there would be none."""
        return self._contents[path] if path in self._contents else read_file(path)

    def edit(self, path: Path, changes: Sequence[Change], private: bool = False) -> None:
        """Set those values in the file, which is made when it is not there.

        Raise LinkRefused when that is not certain.
        """
        shown = self._project.shown(path)
        if path.suffix == ".json":
            raise refused(
                shown,
                0,
                "it is JSON, which has a style of its own",
                "move its content to a .yml file, then link again",
            )
        self._contents[path] = edit(self.read(path) or b"", changes, shown)
        self._changes.setdefault(path, []).extend(changes)
        if private:
            self._private.add(path)

    def put(self, path: Path, content: bytes, changes: Sequence[Change]) -> None:
        """Set the content of a file that is no YAML, in which those values are ours.

        Only its owner may read it.
        """
        self._contents[path] = content
        self._changes[path] = list(changes)
        self._private.add(path)

    def files(self) -> list[StagedFile]:
        """Return every file that is or was changed by us."""
        return [self._file(path) for path in sorted({*self._contents, *self._changes})]

    def _start(self, path: Path) -> bytes | None:
        """Return where a second link starts.

        It starts at the first bytes while the file is as we left it, else at what somebody made of it.
        """
        now = read_file(path)
        return self._first[path] if self._ours(path, now) else now

    def _ours(self, path: Path, now: bytes | None) -> bool:
        """Return whether nobody changed the file since the last link, or ever."""
        old = self._old.get(path)
        return old is None or now == self._first[path] or (now is not None and digest(now) == old.sha256)

    def _file(self, path: Path) -> StagedFile:
        now = read_file(path)
        old = self._old.get(path)
        first = self._first[path] if old else now
        after = self._contents[path]
        owned = tuple(owned_value(change) for change in self._changes.get(path, ()))
        ours = self._ours(path, now)
        if old and not ours and is_yaml(self._project.shown(path)):
            set_again = {known.path for known in owned}
            stale = [known for known in old.owned if known.path not in set_again]
            reverted, _ = without_owned(after or b"", stale, first, self._project.shown(path))
            after = None if first is None and not reverted.strip() else reverted
        private = path in self._private or (old is not None and old.private)
        mode = old.mode if old else file_mode(path)
        # Without a hash, what others did to the file is never taken for ours.
        left = digest(after or b"") if ours else ""
        record = FileRecord(self._project.shown(path), first is not None, left, mode, private, owned)
        wanted = PRIVATE if path in self._private else mode if private else None
        return StagedFile(path, now, after, first, record, wanted, file_mode(path))


def is_yaml(name: str) -> bool:
    """Return whether single values of the file can be taken out again."""
    return name.endswith((".yml", ".yaml"))


def without_owned(
    content: bytes, owned: Iterable[OwnedValue], first: bytes | None, source: str
) -> tuple[bytes, list[str]]:
    """Return the file without our values, and the keys that somebody changed since.

    Our values are put back to what they first were.
    """
    before = read(first, source) if first else {}
    kept: list[str] = []
    for known in owned:
        there, value = _value(read(content, source), known.path)
        if not there:
            continue
        if value_digest(value) != known.sha256:
            kept.append(".".join(known.path))
            continue
        had, old = _value(before, known.path)
        content = edit(content, [Change(known.path, old) if had else Change(known.path, remove=True)], source)
    return content, kept


def _value(data: object, path: tuple[str, ...]) -> tuple[bool, object]:
    for key in path:
        if not isinstance(data, dict) or key not in data:
            return False, None
        data = data[key]
    return True, data
