"""What the settings say the proxy listens on, where TLS is terminated, and what contradicts itself; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from provisioner.model.settings import ServerSettings

DEFAULT_PORT = 5000
HTTPS_PORT = 443
HTTP_PORT = 80
# Names that no public certificate authority signs: what a browser learns about them must not outlive a
# network.
_PRIVATE_SUFFIXES = (
    ".local",
    ".localhost",
    ".lan",
    ".internal",
    ".intranet",
    ".corp",
    ".home",
    ".home.arpa",
    ".test",
    ".invalid",
    ".private",
)

Fault = tuple[str, str]
"""The key below `server`, and what is wrong with it."""


def terminates_tls(server: ServerSettings) -> bool:
    """Return whether the proxy itself speaks TLS."""
    return server.tls in {"acme", "internal", "files"}


def has_own_certificates(server: ServerSettings) -> bool:
    """Return whether the proxy gets or makes its certificates, and has to keep them."""
    return server.tls in {"acme", "internal"}


def public_host(server: ServerSettings) -> str:
    """Return the name or address that people type; "" when there is none."""
    return urlsplit(server.public_url or "").hostname or ""


def public_origin(server: ServerSettings) -> str:
    """Return the origin of the address that people type; "" when there is none."""
    return origin_of(server.public_url) if server.public_url else ""


def origin_of(uri: str) -> str:
    """Return what a browser calls the origin of the address: it has no path."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def public_path(server: ServerSettings) -> str:
    """Return the path below which people reach the server, as /mlflow; "" for none."""
    return urlsplit(server.public_url or "").path


def default_port(server: ServerSettings) -> int:
    """Return the port that the proxy listens on when `server.port` names none."""
    if terminates_tls(server):
        return urlsplit(server.public_url or "").port or HTTPS_PORT
    return DEFAULT_PORT


def redirect_port(server: ServerSettings, port: int) -> int | None:
    """Return the port of plain HTTP; None when there is none.

    It only redirects and answers ACME's challenges.
    """
    if not terminates_tls(server):
        return None
    return server.http_port or (HTTP_PORT if port == HTTPS_PORT else None)


def local_address(bind: str) -> str:
    """Return where this machine reaches what listens there, as it stands in a URL."""
    address = ipaddress.ip_address(bind)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return in_url(str(address))


def in_url(address: str) -> str:
    """Return the address as it stands in a URL or before a port."""
    return f"[{address}]" if ":" in address else address


def is_address(host: str) -> bool:
    """Return whether the host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback_url(uri: str) -> bool:
    """Return whether only this machine can reach the address."""
    host = urlsplit(uri).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def is_public_name(host: str) -> bool:
    """Return whether the host is a name of the public DNS, by its form."""
    return "." in host and not is_address(host) and not host.endswith(_PRIVATE_SUFFIXES)


def conflicts(server: ServerSettings) -> Iterator[Fault]:
    """Yield everything that the keys below `server`, each right by itself, do wrong together."""
    yield from _openness(server)
    if server.tls:
        yield from _tls(server)
    yield from _belongings(server)


def _openness(server: ServerSettings) -> Iterator[Fault]:
    if not ipaddress.ip_address(server.bind).is_loopback:
        if server.auth == "none":
            yield "bind", "opens the server to the network: set auth: basic"
        if server.tls is None:
            yield (
                "bind",
                "opens the server to the network, where plain HTTP would show logins and data: set tls to "
                "acme, internal or files, or to external where something else terminates TLS",
            )
    if server.public_url and not is_loopback_url(server.public_url):
        if server.auth == "none":
            yield "public_url", "opens the server to others: set auth: basic"
        if not server.public_url.startswith("https://"):
            yield "public_url", "must start with https://: logins travel over it"
    elif server.tls and server.public_url and not server.public_url.startswith("https://"):
        yield "public_url", "must start with https://, since tls is set"


def _tls(server: ServerSettings) -> Iterator[Fault]:
    host = public_host(server)
    if not server.public_url:
        yield "tls", "needs public_url: the https:// address that people type"
    elif server.tls == "acme" and (is_address(host) or is_loopback_url(server.public_url)):
        yield (
            "public_url",
            "must have a name that the ACME server can reach: for an address take tls: internal",
        )
    elif (
        server.tls == "acme"
        and (urlsplit(server.public_url).port or HTTPS_PORT) != HTTPS_PORT
        and not server.http_port
    ):
        yield (
            "tls",
            "acme needs port 443 in public_url, or http_port: "
            "the ACME server asks at the outer ports 80 and 443 only",
        )
    if server.tls == "external" and not server.trusted_proxies:
        yield "tls", "external needs trusted_proxies: the addresses of what terminates TLS"
    if server.tls == "files":
        for key in ("tls_certificate", "tls_key"):
            if not getattr(server, key):
                yield "tls", f"files needs {key}"
    if terminates_tls(server) and server.http_port == (server.port or default_port(server)):
        yield "http_port", "is the port of TLS too"


def _belongings(server: ServerSettings) -> Iterator[Fault]:
    """Yield keys that do nothing without another."""
    belongs = {
        "trusted_proxies": server.tls == "external",
        "tls_certificate": server.tls == "files",
        "tls_key": server.tls == "files",
        "acme_ca": server.tls == "acme",
        "acme_ca_file": server.tls == "acme" and server.acme_ca is not None,
        "acme_email": server.tls == "acme",
        "http_port": terminates_tls(server),
        "allowed_hosts": not terminates_tls(server),
    }
    companions = {
        "trusted_proxies": "tls: external",
        "tls_certificate": "tls: files",
        "tls_key": "tls: files",
        "acme_ca": "tls: acme",
        "acme_ca_file": "tls: acme and acme_ca",
        "acme_email": "tls: acme",
        "http_port": "tls: acme, internal or files",
        "allowed_hosts": "a proxy without TLS: one with it has the name of its certificate alone",
    }
    for key, right in belongs.items():
        if getattr(server, key) and not right:
            yield key, f"goes with {companions[key]}"
