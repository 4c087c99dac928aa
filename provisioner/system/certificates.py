"""TLS as clients meet it: what they trust, what a certificate says, and why one is refused, in words."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

CERT_PATH = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_EXPIRED, _NOT_YET, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64
_TIMEOUT = 5.0


@dataclass(frozen=True)
class Refusal:
    """Why a client refuses a server's certificate, and what fixes it."""

    why: str
    hint: str


def clients_ca_file(given: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file of certificates that MLflow's client trusts; None for the system's.

    It is the file given, else as `requests` has it.
    """
    for path in (given, environ.get("REQUESTS_CA_BUNDLE"), environ.get("CURL_CA_BUNDLE")):
        if path:
            return Path(path)
    try:
        import certifi
    except ImportError:
        return None
    return Path(certifi.where())


def context_of(trusted: Path | bytes | None) -> ssl.SSLContext:
    """Return a verifying context that trusts these certificates alone, or the system's.

    Raise OSError or ValueError when they cannot be read.
    """
    named = str(trusted) if isinstance(trusted, Path) else None
    context = ssl.create_default_context(
        cafile=named, cadata=trusted.decode("ascii") if isinstance(trusted, bytes) else None
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def read_chain(content: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM file in their order; raise ValueError when it has none."""
    from cryptography import x509

    return x509.load_pem_x509_certificates(content)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the names and addresses that the certificate is for."""
    from cryptography import x509

    with suppress(x509.ExtensionNotFound):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
        return [*names.get_values_for_type(x509.DNSName), *addresses]
    return []


def is_for(certificate: x509.Certificate, host: str) -> bool:
    """Return whether the certificate covers that name or address."""
    return any(_covers(name.lower(), host.lower()) for name in names_of(certificate))


def is_root(certificate: x509.Certificate) -> bool:
    """Return whether the certificate names itself as its issuer."""
    return certificate.issuer == certificate.subject


def ends_at(certificate: x509.Certificate) -> datetime:
    """Return when the certificate expires."""
    return _utc(certificate, "not_valid_after")


def matching_key(certificate: x509.Certificate, key: bytes) -> bool:
    """Return whether the PEM key belongs to the certificate.

    Raise ValueError or TypeError when it cannot be read.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return load_pem_private_key(key, None).public_key().public_bytes(
        *form
    ) == certificate.public_key().public_bytes(*form)


def refusal(error: ssl.SSLCertVerificationError, host: str, address: tuple[str, int]) -> Refusal:
    """Return why the certificate that the server at the address shows for the host is refused."""
    shown = shown_certificate(host, address)
    names = ", ".join(names_of(shown)) if shown else ""
    if error.verify_code == _EXPIRED:
        when = (
            f" on {ends_at(shown):%Y-%m-%d %H:%M} UTC"
            if shown and ends_at(shown) < datetime.now(timezone.utc)
            else ""
        )
        return Refusal(
            f"the certificate of {host} expired{when}",
            "renew it where it is made; with `tls: files` put the new one there, then `up`",
        )
    if error.verify_code == _NOT_YET:
        when = f" before {_utc(shown, 'not_valid_before'):%Y-%m-%d %H:%M} UTC" if shown else ""
        return Refusal(
            f"the certificate of {host} is not valid{when}",
            "check the clocks of this machine and of the server",
        )
    if error.verify_code in {_WRONG_NAME, _WRONG_ADDRESS}:
        wrong = f"the certificate is for {names or 'other names'}, not for {host}"
        return Refusal(
            wrong,
            "use the name that it is for, or give the server a certificate for this one (server.public_url)",
        )
    signer = f", signed by {_name(shown.issuer)}," if shown else ""
    return Refusal(
        f"the certificate of {host}{signer} is not trusted here ({error.verify_message})",
        (
            "for a private certificate authority, link again with its file: "
            f"`provision link --ca-file FILE`, or set {CERT_PATH}"
        ),
    )


def has_no_certificate(error: ssl.SSLError) -> bool:
    """Return whether the server ended the handshake since it has nothing to show for the name."""
    return str(error.reason) in {
        "TLSV1_ALERT_INTERNAL_ERROR",
        "TLSV1_UNRECOGNIZED_NAME",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
    }


def shown_certificate(host: str, address: tuple[str, int]) -> x509.Certificate | None:
    """Return the certificate that the server shows, without trusting it; None when it shows none.

    Nothing is sent over that connection.
    """
    from cryptography import x509

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, timeout=_TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
    except OSError:
        return None
    return x509.load_der_x509_certificate(shown) if shown else None


def _covers(name: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        first, _, rest = host.partition(".")
        return name == host or (name.startswith("*.") and bool(first) and name[2:] == rest)


def _name(name: x509.Name) -> str:
    return name.rfc4514_string() or "nobody"


def _utc(certificate: x509.Certificate, what: str) -> datetime:
    """Return that time of the certificate, in UTC.

    Newer versions of the library have the time with its zone, older ones only without.
    """
    found = getattr(certificate, f"{what}_utc", None) or getattr(certificate, what).replace(
        tzinfo=timezone.utc
    )
    return datetime.fromtimestamp(found.timestamp(), timezone.utc)
