"""Images of one engine on another: which are missing there, and the bytes of those over SSH."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from provisioner.errors import CommandFailed, PreflightError, ProvisionError
from provisioner.runtimes.docker import cli
from provisioner.runtimes.docker.image_archive import chains, read_archive, smaller_archive
from provisioner.system import streams
from provisioner.system.host import Host
from provisioner.system.ssh import SSHHost

# As `uname -m` says it, and as Docker does.
_PROCESSORS = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_STEPS = 20


def platform_of(machine: str) -> str:
    """Return Docker's name of the platform, as `linux/amd64` for `x86_64`."""
    return f"linux/{_PROCESSORS.get(machine, machine)}"


def inspect(reference: str) -> list[str]:
    """Return the argv that prints an image's platform and size; it fails where there is none."""
    return ["docker", "image", "inspect", "--format", "{{.Os}}/{{.Architecture}} {{.Size}}", reference]


def pull(reference: str, platform: str = "") -> list[str]:
    """Return the argv that fetches an image for that platform; the engine's own when it is ""."""
    return ["docker", "pull", "--quiet", *(["--platform", platform] if platform else []), reference]


def save(references: Sequence[str]) -> list[str]:
    """Return the argv that writes images to standard output; layers that they share are in it once."""
    return ["docker", "save", *references]


def found(host: Host, reference: str) -> tuple[str, int] | None:
    """Return the platform and size in bytes of an image of the host's engine; None when it has none."""
    try:
        done = host.run(inspect(reference))
    except CommandFailed as failure:
        known = cli.explained(failure, remote=host.is_remote)
        if known is failure and (failure.returncode or 0) > 0:
            return None
        raise known from failure
    platform, _, size = done.text.partition(" ")
    return (platform, int(size)) if size.isdecimal() else None


def fetch(host: Host, reference: str, platform: str = "") -> None:
    """Fetch the image into the host's engine, for that platform; the engine's own when it is ""."""
    try:
        host.run(pull(reference, platform), timeout=3600)
    except CommandFailed as failure:
        raise cli.explained(failure, remote=host.is_remote) from failure


def require(reference: str, seen: tuple[str, int] | None, platform: str) -> int:
    """Return the image's size in bytes; raise PreflightError when it would not run on that platform."""
    if seen is None or seen[0] != platform:
        raise PreflightError(
            f"the image {reference} is for {seen[0] if seen else 'nothing'}, the server is {platform}",
            where="this machine's Docker engine",
            hint=(
                "build on such a machine; or, where this engine can emulate one, "
                f"set DOCKER_DEFAULT_PLATFORM={platform} and deploy again"
            ),
        )
    return seen[1]


@dataclass(frozen=True)
class Load:
    """Images to send: all their bytes, those that have to travel, and the paths in the archive that stay."""

    references: tuple[str, ...]
    whole: int
    size: int
    left_out: frozenset[str] = frozenset()


def weigh(host: Host, references: Sequence[str]) -> Load:
    """Return what has to travel to the host for it to have the images that this machine's engine has."""
    try:
        with streams.reading(save(references)) as stream:
            archive = read_archive(stream)
    except CommandFailed as failure:
        raise cli.explained(failure) from failure
    except tarfile.TarError as error:
        raise ProvisionError(
            "docker save wrote no archive",
            where=" ".join(save(references)),
            why=str(error),
            hint="look at `docker image ls`",
        ) from error
    left_out = archive.without(chains(_layers(host)))
    return Load(tuple(references), archive.size(), archive.size(left_out), frozenset(left_out))


def _layers(host: Host) -> list[list[str]]:
    """Return the layers of every image that the host's engine has.

    Return none where it keeps them packed, and so in another form.
    """
    if "io.containerd.snapshotter" in host.run(["docker", "info", "--format", "{{json .DriverStatus}}"]).text:
        return []
    identifiers = sorted(
        set(host.run(["docker", "image", "ls", "--all", "--quiet", "--no-trunc"]).text.split())
    )
    if not identifiers:
        return []
    # One that was removed meanwhile is no error: it has no layers.
    listed = host.run(
        ["docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", *identifiers], check=False
    ).text
    return [layers for line in listed.splitlines() if (layers := _digests(line))]


def _digests(line: str) -> list[str]:
    """Return the digests in a line of JSON; none where it is something else."""
    try:
        found = json.loads(line)
    except ValueError:
        return []
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else []


def send(host: SSHHost, load: Load, show: Callable[[int], None]) -> int:
    """Send the images to the host's engine; return the compressed bytes that travelled.

    `show` gets the percentage as it grows. When the engine needs a layer that was left out, all are sent
    again, and only that second try is counted.
    """
    try:
        return _send(host, load, show)
    except ProvisionError as error:
        if not load.left_out or "no such file" not in error.why.lower():
            raise
    # That engine opens layers that it has.
    return _send(host, replace(load, size=load.whole, left_out=frozenset()), show)


def _send(host: SSHHost, load: Load, show: Callable[[int], None]) -> int:
    sent = 0

    def packed(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal sent
        # Docker unpacks it by itself; a slow link gains more than the processors lose.
        packer = zlib.compressobj(level=1, wbits=31)
        taken, shown = 0, 0
        for chunk in smaller_archive(chunks, load.left_out):
            taken += len(chunk)
            if (percent := min(99, taken * 100 // max(load.size, 1))) >= shown + 100 // _STEPS:
                shown = percent
                show(percent)
            if piece := packer.compress(chunk):
                sent += len(piece)
                yield piece
        last = packer.flush()
        sent += len(last)
        yield last

    argv = ["docker", "load"]
    try:
        streams.pipe(save(load.references), host.connection.program(argv), packed)
    except CommandFailed as failure:
        explained = cli.explained(
            failure, "images that had arrived whole are there; nothing else was changed", remote=True
        )
        raise host.connection.lost_or(argv, explained) from failure
    return sent
