"""The archive of `docker save`: which of its layers an engine has already, and the archive without those.

`docker load` opens a layer only where its engine has no layer of that content on top of the same layers below
(https://github.com/moby/moby/blob/master/daemon/internal/image/tarexport/load.go).
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import IO, Any

# What is kept of configurations and lists, in bytes; layers are larger, or are no JSON.
_DOCUMENTS = 16 << 20
_CHUNK = 1 << 20
_END = b"\0" * (2 * tarfile.BLOCKSIZE)

Chain = tuple[str, ...]
"""A layer's digest after those of all layers below it."""


@dataclass(frozen=True)
class Archive:
    """What is in an archive: bytes by path, and each image's layers from the lowest on.

    A layer is the digest of its unpacked content, and its path.
    """

    sizes: Mapping[str, int]
    images: tuple[tuple[tuple[str, str], ...], ...]

    def without(self, there: set[Chain]) -> set[str]:
        """Return the paths that an engine with those layers does not open."""
        by_chain = [
            (tuple(digest for digest, _ in layers[:number]), path)
            for layers in self.images
            for number, (_, path) in enumerate(layers, 1)
        ]
        opened = {path for chain, path in by_chain if chain not in there}
        return {path for chain, path in by_chain if chain in there and path in self.sizes} - opened

    def size(self, left_out: Iterable[str] = ()) -> int:
        """Return the bytes of the content without those paths."""
        return sum(self.sizes.values()) - sum(self.sizes[path] for path in left_out)


def read_archive(stream: IO[bytes]) -> Archive:
    """Return what is in the archive, read once to its end; with no list of its images, none of them."""
    sizes: dict[str, int] = {}
    links: dict[str, str] = {}
    documents: dict[str, bytes] = {}
    room = _DOCUMENTS
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.issym():
                links[member.name] = posixpath.normpath(
                    posixpath.join(posixpath.dirname(member.name), member.linkname)
                )
            elif member.islnk():
                links[member.name] = member.linkname
            elif member.isfile():
                sizes[member.name] = member.size
                content = tar.extractfile(member) if member.size <= room else None
                if content and (text := content.read()).startswith((b"{", b"[")):
                    documents[member.name] = text
                    room -= len(text)
    try:
        listed = json.loads(documents.get("manifest.json", b"[]"))
        images = tuple(_layers(image, json.loads(documents[image["Config"]]), links) for image in listed)
    except (KeyError, TypeError, ValueError, RecursionError):
        # Nothing is left out of what is not understood.
        images = ()
    return Archive(sizes, images)


def _layers(
    image: Mapping[str, Any], config: Mapping[str, Any], links: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    paths = [links.get(path, path) for path in image["Layers"]]
    return tuple(zip(config["rootfs"]["diff_ids"], paths, strict=True))


def smaller_archive(chunks: Iterator[bytes], left_out: Set[str]) -> Iterator[bytes]:
    """Yield the archive without those paths; an archive that loses none is handed on as it is."""
    if not left_out:
        yield from chunks
        return
    with tarfile.open(fileobj=io.BufferedReader(_Chunks(chunks)), mode="r|") as tar:
        for member in tar:
            if member.name in left_out:
                continue
            yield member.tobuf(tarfile.PAX_FORMAT)
            if content := tar.extractfile(member) if member.isfile() else None:
                while chunk := content.read(_CHUNK):
                    yield chunk
                yield b"\0" * (-member.size % tarfile.BLOCKSIZE)
    yield _END
    for _ in chunks:
        # Whoever writes it waits until it is read.
        pass


def chains(images: Iterable[Sequence[str]]) -> set[Chain]:
    """Return every layer of images, given as the digests of their layers from the lowest on."""
    return {tuple(layers[:number]) for layers in images for number in range(1, len(layers) + 1)}


class _Chunks(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        taken = min(len(buffer), len(self._rest))
        buffer[:taken], self._rest = self._rest[:taken], self._rest[taken:]
        return taken
