"""The rendered files of an embedded stack that another release made: used as they stand in its directory."""

from __future__ import annotations

from collections.abc import Container, Mapping
from configparser import Error as ConfigParserError
from contextlib import suppress
from pathlib import Path

from provisioner.runtimes.base import PROXY, SERVER, RenderedFile
from provisioner.runtimes.caddyfile import CADDYFILE, with_certificates
from provisioner.runtimes.embedded.fingerprint import fingerprints
from provisioner.runtimes.embedded.processes import Binaries, moved_launcher
from provisioner.runtimes.embedded.supervisord_conf import (
    SERVICES_JSON,
    SUPERVISORD_CONF,
    ProcessSpec,
    read_launcher,
)
from provisioner.runtimes.recipe import Recipe

NEEDED = (CADDYFILE, SERVICES_JSON, SUPERVISORD_CONF)


def kept_files(
    recipe: Recipe, certificates: Mapping[str, bytes], binaries: Binaries, directory: Path
) -> dict[str, bytes]:
    """Return the files by path, with today's certificates and places.

    Raise PreflightError where one is not as its release rendered it.
    """
    files = recipe.whole(comparable, NEEDED)
    try:
        files[CADDYFILE] = with_certificates(files[CADDYFILE].decode(), certificates).encode()
        files[SERVICES_JSON] = moved_launcher(files[SERVICES_JSON].decode(), binaries, directory).encode()
        _refuse_others(fingerprints({path: RenderedFile(content) for path, content in files.items()}))
    except (ValueError, ConfigParserError) as error:
        raise recipe.unusable(f"they cannot be understood: {error}") from error
    return files


def kept_specs(recipe: Recipe, binaries: Binaries, directory: Path) -> tuple[ProcessSpec, ...]:
    """Return the processes of the stack, with today's places; none where the file is gone or unreadable.

    `kept_files` says that before anything is done with it.
    """
    text = (recipe.get(SERVICES_JSON) or b"").decode(errors="replace")
    try:
        specs = read_launcher(moved_launcher(text, binaries, directory))
        _refuse_others([spec.name for spec in specs])
    except ValueError:
        return ()
    return specs


def _refuse_others(names: Container[str]) -> None:
    """Raise ValueError where a service is not among them that every stack has."""
    if lacking := [name for name in (SERVER, PROXY) if name not in names]:
        raise ValueError(f"{SERVICES_JSON} has no {' and no '.join(lacking)}")


def comparable(path: str, content: bytes) -> bytes:
    """Return what of a rendered file stays the same for as long as its stack is of one release."""
    text = content.decode(errors="replace")
    if path == CADDYFILE:
        return with_certificates(text, {}).encode()
    if path == SERVICES_JSON:
        with suppress(ValueError):
            return moved_launcher(text, Binaries(Path("/environment/bin")), Path("/stack")).encode()
    return content
