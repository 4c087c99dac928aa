"""The rendered files of an embedded stack that another release made: used as they stand in its directory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from provisioner.runtimes.caddyfile import CADDYFILE, with_certificates
from provisioner.runtimes.embedded.processes import Binaries, moved_launcher
from provisioner.runtimes.embedded.supervisord_conf import SERVICES_JSON, ProcessSpec, read_launcher
from provisioner.runtimes.recipe import Recipe


def kept_files(
    recipe: Recipe, certificates: Mapping[str, bytes], binaries: Binaries, directory: Path
) -> dict[str, bytes]:
    """Return the files by path, with today's certificates and places.

    Raise PreflightError where one is not as its release rendered it.
    """
    files = recipe.whole(comparable)
    files[CADDYFILE] = with_certificates(files[CADDYFILE].decode(), certificates).encode()
    files[SERVICES_JSON] = moved_launcher(files[SERVICES_JSON].decode(), binaries, directory).encode()
    return files


def kept_specs(recipe: Recipe, binaries: Binaries, directory: Path) -> tuple[ProcessSpec, ...]:
    """Return the processes of the stack, with today's places; none where the file is gone or unreadable.

    `kept_files` says that before anything is done with it.
    """
    text = (recipe.get(SERVICES_JSON) or b"").decode(errors="replace")
    try:
        return read_launcher(moved_launcher(text, binaries, directory))
    except ValueError:
        return ()


def comparable(path: str, content: bytes) -> bytes:
    """Return what of a rendered file stays the same for as long as its stack is of one release."""
    text = content.decode(errors="replace")
    if path == CADDYFILE:
        return with_certificates(text, {}).encode()
    if path == SERVICES_JSON:
        with suppress(ValueError):
            return moved_launcher(text, Binaries(Path("/environment/bin")), Path("/stack")).encode()
    return content
