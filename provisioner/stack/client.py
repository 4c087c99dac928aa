"""A client of a stack's server, that reaches it as this machine can and names it as everybody does."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from provisioner.mlflow_api import StackRest
from provisioner.model.proxy import origin_of
from provisioner.model.secret import Secret
from provisioner.model.stack import ADMIN_LOGIN
from provisioner.system.certificates import clients_ca_file


@dataclass(frozen=True)
class ProxyAddress:
    """A proxy as reached from here: HOST:PORT, whether it speaks TLS, the certificates to trust it by."""

    address: str
    tls: bool = False
    ca: bytes | None = None
    identity: str = ""
    """Which stack answers there; "" where that is not known."""


def stack_client(
    proxy: ProxyAddress, public_url: str, password: Secret | None, timeout: float = 10
) -> StackRest:
    """Return a client that reaches the proxy here, but names it and trusts its certificate as others do."""
    return StackRest(
        public_url if proxy.tls else f"http://{proxy.address}",
        identity=proxy.identity,
        connect=proxy.address,
        host=urlsplit(public_url).netloc,
        origin=origin_of(public_url),
        username=ADMIN_LOGIN if password else "",
        password=password.reveal() if password else "",
        timeout=timeout,
        trusted=proxy.ca or clients_ca_file(""),
    )
