"""What a deploy writes into `provision.yml`: the server, its address, TLS and the login; all else stays."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from provisioner.errors import EditRefused, SettingsError
from provisioner.model.proxy import HTTPS_PORT, in_url, is_public_name, public_host
from provisioner.model.settings import SOURCE, ServerSettings
from provisioner.model.settings_text import parse_settings
from provisioner.yaml_edit.edit import Change, edit


@dataclass(frozen=True)
class Address:
    """How the server is reached: by SSH, the name that SSH resolves it to, and what the user asked for."""

    destination: str
    hostname: str
    domain: str | None = None
    port: int | None = None


def settings_for(content: bytes, address: Address) -> tuple[bytes, dict[str, str]]:
    """Return the new content of the file, and what is changed in it, by setting."""
    settings = parse_settings(content.decode("utf-8", errors="replace"))
    changes = [Change(("ssh",), address.destination)] if settings.ssh != address.destination else []
    changes += [Change(("server", key), value) for key, value in _server(settings.server, address)]
    try:
        edited = edit(content, changes, SOURCE)
    except EditRefused as error:
        lines = "; ".join(f"{'.'.join(change.path)}: {change.value}" for change in changes)
        raise SettingsError(
            error.what, where=error.where, why=error.why, hint=f"write by hand: {lines}"
        ) from error
    # Nothing that the next command would refuse.
    parse_settings(edited.decode())
    return edited, {".".join(change.path): str(change.value) for change in changes}


def _server(server: ServerSettings, address: Address) -> Iterator[tuple[str, object]]:
    """Yield the keys below `server` that are not as a server for others needs them, with their new values."""
    if server.auth == "none":
        yield "auth", "basic"
    if server.tls != "external" and ipaddress.ip_address(server.bind).is_loopback:
        yield "bind", "0.0.0.0"  # noqa: S104  the proxy of a team
    name = address.domain or public_host(server) or address.hostname
    tls = "acme" if address.domain and is_public_name(address.domain) else "internal"
    if server.tls is None or (server.tls in {"acme", "internal"} and address.domain and server.tls != tls):
        yield "tls", tls
    port = address.port or urlsplit(server.public_url or "").port or HTTPS_PORT
    url = f"https://{in_url(name)}" + (f":{port}" if port != HTTPS_PORT else "")
    if server.public_url is None or ((address.domain or address.port) and url != server.public_url):
        yield "public_url", url
    if address.port and server.port not in {None, address.port}:
        yield "port", address.port
