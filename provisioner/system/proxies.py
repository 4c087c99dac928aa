"""Proxy variables of a shell, as MLflow's client takes them."""

from __future__ import annotations

import contextlib
import os
from urllib.parse import urlsplit

from provisioner.system.certificates import clients_ca_file

_TIMEOUT = 5


def swallowing_proxy(uri: str, ca_file: str = "") -> tuple[str, str] | None:
    """Return why MLflow's client would not reach the URI, and what to set.

    None when no proxy takes it, or one hands it on.
    """
    # Here, since most commands never ask. MLflow's client has its exceptions of it: no port beside an
    # address, no star before a name.
    import requests
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(uri, get_environ_proxies(uri, no_proxy=None))
    if not proxy:
        return None
    with requests.Session() as session, contextlib.suppress(requests.RequestException, OSError):
        # Else a login of ~/.netrc would be sent along.
        session.trust_env = False
        trusted = str(clients_ca_file(ca_file) or "") or True
        if session.get(
            f"{uri}/health", proxies={"all": proxy}, timeout=_TIMEOUT, allow_redirects=False, verify=trusted
        ).ok:
            return None
    parts = urlsplit(uri)
    names = [known for name in (f"{parts.scheme}_proxy", "all_proxy") for known in (name, name.upper())]
    source = next((name for name in names if os.environ.get(name)), "the system's proxy")
    exceptions = next((name for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)), "NO_PROXY")
    return (
        f"{source} sends requests for {parts.hostname} to {_shown(proxy)}, which gives no answer",
        f"add {parts.hostname} to {exceptions}",
    )


def _shown(proxy: str) -> str:
    """Return the proxy's address without a login."""
    return proxy.rpartition("@")[2].rpartition("//")[2]
