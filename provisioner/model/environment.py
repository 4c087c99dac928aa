"""The environment that each service is given; no secret value."""

from __future__ import annotations

import ipaddress

from provisioner.model.addresses import Addresses
from provisioner.model.proxy import in_url, public_host, public_origin
from provisioner.model.settings import ServerSettings
from provisioner.model.stack import Stack

# What container engines call the machine that they run on; no public name server has these.
_MACHINE_IN_CONTAINERS = ("host.docker.internal", "host.containers.internal")
# In a pattern, which one with `*` is, a bracket is a set of characters.
_KNOWN_LOOPBACKS = ("127.0.0.1", "::1")
ANY_LOCAL_HOST = "localhost,localhost:*,127.0.0.1,127.0.0.1:*,[::1],[[]::1]:*"


def service_environment(stack: Stack, service: str, addresses: Addresses) -> dict[str, str]:
    """Return the environment of that service."""
    if service == "mlflow":
        return _server_environment(stack, addresses)
    if service == "bootstrap":
        own = stack.backend.bootstrap_environment(addresses) | stack.artifacts.bootstrap_environment(
            addresses
        )
        return _server_environment(stack, addresses) | own
    if service == "proxy":
        # As the official image has it; another one may not.
        return {"XDG_CONFIG_HOME": "/config", "XDG_DATA_HOME": "/data"}
    for store in (stack.backend, stack.artifacts):
        if service in {own.name for own in store.services()}:
            return store.service_environment(addresses)
    return {}


def _server_environment(stack: Stack, addresses: Addresses) -> dict[str, str]:
    server = stack.settings.server
    environment = {
        "PROVISION_SECRETS": addresses.secrets,
        "PROVISION_BACKEND_STORE": stack.backend.uri(addresses),
        "PROVISION_ARTIFACTS_DESTINATION": stack.artifacts.destination(addresses),
        "PROVISION_AUTH": server.auth,
        "PROVISION_LISTEN": addresses.listen,
        "PROVISION_LISTEN_ASGI": addresses.listen_asgi,
        "PROVISION_WORKERS": str(server.workers),
        "PROVISION_GENAI": str(server.genai).lower(),
        "PROVISION_FAST": str(server.fast).lower(),
        "MLFLOW_SERVER_ALLOWED_HOSTS": _allowed_hosts(server),
    }
    if server.genai:
        environment["PROVISION_JOBS_URI"] = addresses.jobs
    if origins := _allowed_origins(server):
        environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = origins
    if stack.login:
        environment["PROVISION_AUTH_STORE"] = stack.backend.auth_uri(addresses)
        environment["PROVISION_DEFAULT_PERMISSION"] = server.default_permission
    return environment | stack.backend.environment(addresses) | stack.artifacts.environment(addresses)


def _allowed_hosts(server: ServerSettings) -> str:
    """Return the Host headers that MLflow accepts.

    Its match includes the port, so each name stands with and without one.
    """
    named = (public_host(server), _own_loopback(server), *server.allowed_hosts, *_MACHINE_IN_CONTAINERS)
    names = dict.fromkeys(filter(None, named))
    return ",".join([*(form for name in names for form in _forms(in_url(name))), ANY_LOCAL_HOST])


def _allowed_origins(server: ServerSettings) -> str:
    """Return the origins of pages whose calls MLflow takes beside this machine's usual; "" for none."""
    own = _own_loopback(server)
    # The port is known when the stack starts, and 80 stands in no origin.
    local = [f"http://{form}" for form in _forms(in_url(own))] if own else []
    return ",".join(filter(None, (public_origin(server), *local)))


def _own_loopback(server: ServerSettings) -> str:
    """Return the bound address where it is a loopback address that MLflow does not know as one; "" otherwise.

    Any other that can be bound has a `public_url`, which is what clients type.
    """
    is_known = server.bind in _KNOWN_LOOPBACKS
    return "" if is_known or not ipaddress.ip_address(server.bind).is_loopback else server.bind


def _forms(host: str) -> tuple[str, str]:
    return host, f"{host.replace('[', '[[]')}:*"
