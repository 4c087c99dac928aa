"""The recipe of a stack: the files that one release rendered, and another uses as they stand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from provisioner.errors import PreflightError
from provisioner.model.release import Release
from provisioner.system.host import Host

Comparable = Callable[[str, bytes], bytes]
"""Takes a path and its content; returns that without what is the user's, such as a digest of certificates."""


@dataclass(frozen=True)
class Recipe:
    """What a stack of another release was made from, read from its own directory."""

    release: Release
    digests: Mapping[str, str]
    directory: Path
    host: Host
    fault: str = ""
    """Why there are no digests, where `state.json` has some that cannot be used."""

    def get(self, path: str) -> bytes | None:
        """Return a file as it is; None where it is not there."""
        return self.host.get(self.directory / path)

    def whole(self, comparable: Comparable, needed: Iterable[str]) -> dict[str, bytes]:
        """Return every file by path; raise PreflightError where one is not as its release rendered it.

        `needed` are paths without which nothing can be run.
        """
        if not self.digests:
            raise self.unusable(
                f"state.json: {self.fault}"
                if self.fault
                else "it was not kept which files that release rendered"
            )
        if unlisted := [path for path in needed if path not in self.digests]:
            raise self.unusable(f"state.json: recipe has no digest of {', '.join(unlisted)}")
        contents = {path: self._contents[self.directory / path] for path in self.digests}
        found = {path: content for path, content in contents.items() if content is not None}
        if gone := sorted(set(contents) - set(found)):
            raise self.unusable(f"{', '.join(gone)}: not there")
        now = digests(found, comparable)
        if changed := [path for path in sorted(now) if now[path] != self.digests[path]]:
            raise self.unusable(f"{', '.join(changed)}: changed since")
        return found

    @cached_property
    def _contents(self) -> dict[Path, bytes | None]:
        return self.host.read([self.directory / path for path in self.digests])

    def unusable(self, why: str) -> PreflightError:
        """Return the error for files that cannot be used, with the reason."""
        return PreflightError(
            f"the files of this stack are not as {self.release} rendered them",
            where=str(self.directory),
            why=why,
            hint=f"put them back from a backup; or `provision up` by {self.release} renders them anew",
        )


def digests(contents: Mapping[str, bytes], comparable: Comparable) -> dict[str, str]:
    """Return 16 hexadecimal digits for each file, by path."""
    return {
        path: hashlib.sha256(comparable(path, content)).hexdigest()[:16]
        for path, content in sorted(contents.items())
    }
