"""Of an archive of images, an engine is sent what it lacks; both forms that `docker save` writes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator

import pytest

from provisioner.runtimes.docker.image_archive import chains, read_archive, smaller_archive

BASE, TOOLS, FIRST, SECOND = (name.encode() * 5000 for name in ("base", "tools", "first", "second"))
IMAGES = {"one": (BASE, TOOLS, FIRST), "two": (BASE, TOOLS, SECOND), "three": (TOOLS, SECOND)}


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layers_of(name: str) -> list[str]:
    return [digest(content) for content in IMAGES[name]]


def config(name: str) -> bytes:
    return json.dumps({"rootfs": {"type": "layers", "diff_ids": layers_of(name)}}).encode()


def packed(files: dict[str, bytes], links: dict[str, str], manifest: list[dict[str, object]]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for path, content in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for path, to in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, to
            tar.addfile(member)
    return target.getvalue()


def since_25(*names: str) -> bytes:
    """Blobs by the digest of their content."""
    path = {
        content: f"blobs/sha256/{digest(content)[7:]}"
        for name in names
        for content in (*IMAGES[name], config(name))
    }
    manifest: list[dict[str, object]] = [
        {"Config": path[config(name)], "Layers": [path[content] for content in IMAGES[name]]}
        for name in names
    ]
    return packed({place: content for content, place in path.items()}, {}, manifest)


def before_25(*names: str) -> bytes:
    """A directory for each layer in its place; a content that is there already is a link."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    manifest: list[dict[str, object]] = []
    for name in names:
        paths = []
        for number, content in enumerate(IMAGES[name], 1):
            path = f"{hashlib.sha256(b''.join(IMAGES[name][:number])).hexdigest()}/layer.tar"
            same = next((there for there, known in files.items() if known == content and there != path), None)
            if path not in files:
                links.update({path: f"../{same}"}) if same else files.update({path: content})
            paths.append(path)
        files[f"{name}.json"] = config(name)
        manifest.append({"Config": f"{name}.json", "Layers": paths})
    return packed(files, links, manifest)


FORMS = pytest.mark.parametrize("form", [since_25, before_25])


def pieces(content: bytes) -> Iterator[bytes]:
    yield from (content[start : start + 777] for start in range(0, len(content), 777))


def left(archive: bytes, there: list[str]) -> tuple[list[bytes], bytes]:
    """The layers that an archive for an engine with those images still has, and that archive."""
    known = read_archive(io.BytesIO(archive))
    smaller = b"".join(smaller_archive(pieces(archive), known.without(chains(map(layers_of, there)))))
    with tarfile.open(fileobj=io.BytesIO(smaller)) as tar:
        contents = [
            tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
            if member.isfile()
        ]
    return [content for content in (BASE, TOOLS, FIRST, SECOND) if content in contents], smaller


@FORMS
@pytest.mark.parametrize(
    ("sent", "there", "travels"),
    [
        (("one",), [], [BASE, TOOLS, FIRST]),
        (("two",), ["one"], [SECOND]),
        (("one", "two"), ["one"], [SECOND]),
        (("two",), ["two"], []),
        # The same content on top of other layers is another layer.
        (("three",), ["one"], [TOOLS, SECOND]),
        (("two", "three"), ["two"], [TOOLS, SECOND]),
    ],
)
def test_the_layers_that_an_engine_lacks_travel(
    form: object, sent: tuple[str, ...], there: list[str], travels: list[bytes]
) -> None:
    assert left(form(*sent), there)[0] == travels  # type: ignore[operator]


@FORMS
def test_what_stays_in_is_as_it_was(form: object) -> None:
    whole = form("one", "two")  # type: ignore[operator]
    assert left(whole, [])[1] == whole
    with (
        tarfile.open(fileobj=io.BytesIO(whole)) as before,
        tarfile.open(fileobj=io.BytesIO(left(whole, ["one"])[1])) as after,
    ):
        for member in after:
            old = before.getmember(member.name)
            assert (member.size, member.type, member.linkname, member.mode) == (
                old.size,
                old.type,
                old.linkname,
                old.mode,
            )
            if member.isfile():
                assert (
                    after.extractfile(member).read()  # type: ignore[union-attr]
                    == before.extractfile(old).read()  # type: ignore[union-attr]
                )
        assert json.loads(after.extractfile("manifest.json").read())  # type: ignore[union-attr]


@FORMS
def test_the_bytes_that_travel_are_known_before(form: object) -> None:
    archive = read_archive(io.BytesIO(form("one", "two")))  # type: ignore[operator]
    saved = archive.size() - archive.size(archive.without(chains([layers_of("one")])))
    assert saved == len(BASE) + len(TOOLS) + len(FIRST)


def test_an_archive_without_a_list_of_images_loses_nothing() -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    assert read_archive(io.BytesIO(target.getvalue())).without(chains([layers_of("one")])) == set()
