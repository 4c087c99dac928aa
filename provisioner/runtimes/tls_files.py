"""A proxy's certificate files: read from where the user has them, looked at before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import PreflightError
from provisioner.model.proxy import public_host
from provisioner.model.stack import Stack
from provisioner.runtimes.base import RenderedFile
from provisioner.runtimes.caddyfile import ACME_CA, CADDYFILE, CERTIFICATE
from provisioner.system.certificates import ends_at, is_for, matching_key, names_of, read_chain
from provisioner.system.host import LocalHost

if TYPE_CHECKING:
    from cryptography import x509

# Below Caddy's data directory.
ROOT_CERTIFICATE = "caddy/pki/authorities/local/root.crt"
_FOLDER = str(Path(CADDYFILE).parent)
# Copies of the user's files, by path in the stack directory.
CERTIFICATE_FILES = (f"{_FOLDER}/{CERTIFICATE}", f"{_FOLDER}/{ACME_CA}")


def certificate_files(stack: Stack, directory: Path) -> dict[str, bytes]:
    """Return what lies beside the Caddyfile, from the user's files, by path in the stack directory.

    Raise PreflightError when a file cannot be used.
    """
    server = stack.settings.server
    files = {}
    if server.tls == "files":
        certificate = _read(directory, server.tls_certificate or "", "tls_certificate")
        _check(
            certificate,
            _read(directory, server.tls_key or "", "tls_key"),
            public_host(server),
            str(directory / (server.tls_certificate or "")),
        )
        files[CERTIFICATE_FILES[0]] = certificate
    if server.acme_ca_file:
        authority = _read(directory, server.acme_ca_file, "acme_ca_file")
        _chain(authority, str(directory / server.acme_ca_file))
        files[CERTIFICATE_FILES[1]] = authority
    return files


def proxy_files(files: Mapping[str, RenderedFile]) -> dict[str, RenderedFile]:
    """Return those of the files that a proxy reads anew while it runs, the Caddyfile last."""
    return {path: files[path] for path in (*CERTIFICATE_FILES, CADDYFILE) if path in files}


def _read(directory: Path, name: str, key: str) -> bytes:
    content = LocalHost().get(directory / name)
    if content is None:
        raise PreflightError(
            f"server.{key} is not there", where=str(directory / name), hint="put the PEM file there"
        )
    return content


def _check(certificate: bytes, key: bytes, name: str, where: str) -> None:
    """Check the certificate and its key.

    Raise PreflightError when one cannot be read, they do not match, or it is expired or for another name.
    """
    first = _chain(certificate, where)[0]
    hint = "replace the files, then `provision up`"
    try:
        matches = matching_key(first, key)
    except (ValueError, TypeError) as error:
        raise PreflightError(
            "server.tls_key cannot be read",
            where=where,
            why=str(error),
            hint="give an unencrypted private key as PEM",
        ) from error
    if not matches:
        raise PreflightError(
            "server.tls_key does not belong to the first certificate of server.tls_certificate",
            where=where,
            hint=hint,
        )
    if not is_for(first, name):
        names = ", ".join(names_of(first)) or "nothing"
        raise PreflightError(
            f"the certificate is for {names}, not for {name}",
            where=where,
            why="server.public_url names the latter",
            hint=hint,
        )
    if ends_at(first) < datetime.now(timezone.utc):
        raise PreflightError(
            f"the certificate expired on {ends_at(first):%Y-%m-%d %H:%M} UTC", where=where, hint=hint
        )


def _chain(content: bytes, where: str) -> list[x509.Certificate]:
    try:
        return read_chain(content)
    except ValueError as error:
        raise PreflightError(
            "no certificate can be read", where=where, why=str(error), hint="give PEM, the server's own first"
        ) from error
