"""Proxy variables of a shell, as Python's HTTP clients take them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def swallowing_proxy(uri: str, environ: Mapping[str, str]) -> str:
    """Why clients would not reach the URI directly, and what to set; "" when no proxy variable takes it."""
    parts = urlsplit(uri)
    host = (parts.hostname or "").lower()
    name = _variable((f"{parts.scheme}_proxy", "all_proxy"), environ)
    if not name or _excepted(host, parts.port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return ""
    exceptions = next((known for known in ("no_proxy", "NO_PROXY") if environ.get(known)), "NO_PROXY")
    return f"{name} sends requests for {host} to {_shown(environ[name])}; add {host} to {exceptions}"


def _variable(names: tuple[str, ...], environ: Mapping[str, str]) -> str:
    for name in names:
        # Lower case wins, as in the standard library and in requests.
        for known in (name, name.upper()):
            if environ.get(known):
                return known
    return ""


def _excepted(host: str, port: int | None, listed: str) -> bool:
    entries = [entry.strip().lower() for entry in listed.split(",") if entry.strip()]
    return any(entry == "*" or _covers(entry, host, port) for entry in entries)


def _covers(entry: str, host: str, port: int | None) -> bool:
    try:
        address = ipaddress.ip_address(host)
        if "/" in entry:
            return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    name = entry.removeprefix("*").lstrip(".")
    return any(known == name or known.endswith(f".{name}") for known in (host, f"{host}:{port}"))


def _shown(proxy: str) -> str:
    """The proxy's address without a login."""
    return proxy.rpartition("@")[2].rpartition("//")[2]
