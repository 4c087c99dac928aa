"""Stack to `docker-compose.yml`: the same bytes for the same input."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from provisioner.assets import mlflow_version
from provisioner.model.addresses import IN_CONTAINERS
from provisioner.model.environment import service_environment
from provisioner.model.proxy import default_port, in_url, redirect_port
from provisioner.model.service import Service, Volume
from provisioner.model.settings import ImageSettings, Settings
from provisioner.model.stack import Stack
from provisioner.runtimes.digest import digest_of

DEFAULT_IMAGES = {
    "python": "python:3.13-slim-trixie",
    "postgres": "postgres:18.6-trixie",
    "minio": "pgsty/silo:RELEASE.2026-09-16T00-00-00Z",
    "caddy": "caddy:2.11.7-alpine",
}
BUILD_CA = "deploy/build-ca.pem"
_FILES_LABEL = "provision.files"
_CONDITIONS = {"completed": "service_completed_successfully", "started": "service_started"}
FRONT_PORT, REDIRECT_PORT = (
    address.rpartition(":")[2] for address in (IN_CONTAINERS.front, IN_CONTAINERS.front_http)
)
_HEADER = """\
# Made by `provision` from provision.yml; changes here are overwritten by the next `provision up` \
or `provision render`.
# Change provision.yml for what it has a key for, and compose.override.yml (yours, read by compose itself) \
for all else.
# It works without our program too: `docker compose up -d --wait` in this directory, \
once `provision render` has made
# the secrets. What differs between two stacks with equal settings (project name, port) stands in .env.
"""


def image_references(images: ImageSettings) -> dict[str, str]:
    """Return the reference of every image that we do not build, with the user's replacements and registry."""
    prefix = f"{images.registry.rstrip('/')}/" if images.registry else ""
    return {key: getattr(images, key) or f"{prefix}{default}" for key, default in DEFAULT_IMAGES.items()}


def server_image(settings: Settings, image_files: Mapping[str, bytes]) -> str:
    """Return the server image's reference: the user's, or a tag that changes with all it is built from."""
    if settings.images.server:
        return settings.images.server
    recipe = hashlib.sha256()
    for name, content in sorted(image_files.items()):
        recipe.update(f"{name}\0{len(content)}\0".encode() + content)
    recipe.update(image_references(settings.images)["python"].encode())
    return f"provision-mlflow:{mlflow_version()}-{recipe.hexdigest()[:12]}"


def render_compose(stack: Stack, image_files: Mapping[str, bytes], mounted: Mapping[str, bytes]) -> str:
    """Return the text of `docker-compose.yml`.

    `mounted` is what stands in files that the proxy reads when its container is made, and then no more.
    """
    images = image_references(stack.settings.images) | {"server": server_image(stack.settings, image_files)}
    volumes = sorted({volume.name for service in stack.services for volume in service.volumes})
    networks = sorted({network for service in stack.services for network in service.networks})
    builder = (
        None if stack.settings.images.server else next(s.name for s in stack.services if s.image == "server")
    )
    document: dict[str, Any] = {
        "services": {
            service.name: _service(stack, service, images, mounted, build=service.name == builder)
            for service in stack.services
        },
        "networks": {name: {} if name == "edge" else {"internal": True} for name in networks},
        "volumes": {name: {} for name in volumes},
        "secrets": {spec.name: {"file": f"./secrets/{spec.name}"} for spec in stack.secrets},
    }
    if not volumes:
        del document["volumes"]
    return _HEADER + "\n" + yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)


def with_mounted(compose: str, mounted: Mapping[str, bytes]) -> str:
    """Return the text of a `docker-compose.yml` with the digest of what stands in those files."""
    label = digest_of(mounted)
    return compose if label in compose else re.sub(rf"(?<={_FILES_LABEL}: ).*", json.dumps(label), compose)


def render_env(project: str, port: int) -> str:
    """Return the text of `.env`."""
    return (
        "# Made by `provision`: what is this stack's own.\n"
        f"COMPOSE_PROJECT_NAME={project}\nPROVISION_PORT={port}\n"
    )


def with_port(env: str, port: int) -> str:
    """Return the text of a `.env` with that port of the proxy."""
    return re.sub(r"(?<=^PROVISION_PORT=).*$", str(port), env, flags=re.MULTILINE)


def port_in_env(content: bytes | None) -> int | None:
    """Return the proxy's port in a `.env` of ours; None where there is none."""
    found = re.search(rb"^PROVISION_PORT=(\d{1,5})$", content or b"", re.MULTILINE)
    return int(found[1]) if found and 0 < int(found[1]) < 1 << 16 else None


def _service(
    stack: Stack, service: Service, images: Mapping[str, str], mounted: Mapping[str, bytes], *, build: bool
) -> dict[str, Any]:
    body: dict[str, Any] = {"image": images[service.image]}
    if build:
        body["build"] = _build(stack.settings, images["python"])
    if service.image == "server" and not stack.settings.images.server:
        # Made here by the service that has `build`, never asked for elsewhere.
        body["pull_policy"] = "never"
    if service.name == "volumes":
        body["entrypoint"] = ["/bin/true"]
    elif service.command:
        body["command"] = list(service.command)
    body |= _isolation(service) | _limits(service)
    if waits := {name: {"condition": _CONDITIONS[when]} for name, when in service.depends_on.items()}:
        body["depends_on"] = waits
    environment = service_environment(stack, service.name, IN_CONTAINERS)
    if environment:
        body["environment"] = {key: value.replace("$", "$$") for key, value in environment.items()}
    if service.secrets:
        body["secrets"] = list(service.secrets)
    body |= _storage(service)
    if service.is_proxy:
        body["ports"] = _ports(stack.settings)
        if mounted:
            body["labels"] = {_FILES_LABEL: digest_of(mounted)}
    if service.networks:
        body["networks"] = list(service.networks)
    else:
        body["network_mode"] = "none"
    if service.probe:
        body["healthcheck"] = {
            "test": ["CMD", *service.probe],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "60s",
        }
    return body


def _ports(settings: Settings) -> list[str]:
    server = settings.server
    host, port = in_url(server.bind), server.port or default_port(server)
    ports = [f"{host}:${{PROVISION_PORT:-{port}}}:{FRONT_PORT}"]
    redirect = redirect_port(server, port)
    return ports + ([f"{host}:{redirect}:{REDIRECT_PORT}"] if redirect else [])


def _build(settings: Settings, python_image: str) -> dict[str, Any]:
    arguments = {"PYTHON_IMAGE": python_image}
    if settings.build.index_url:
        arguments["PIP_INDEX_URL"] = settings.build.index_url
    return {"context": ".", "args": arguments}


def _isolation(service: Service) -> dict[str, Any]:
    body: dict[str, Any] = {
        "user": service.user,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    if service.capabilities:
        body["cap_add"] = list(service.capabilities)
    if service.image == "server" and not service.one_shot:
        body["init"] = True
    return body


def _limits(service: Service) -> dict[str, Any]:
    body: dict[str, Any] = {"mem_limit": service.memory, "pids_limit": service.pids}
    if service.cpus:
        body["cpus"] = service.cpus
    if service.shm:
        body["shm_size"] = service.shm
    body["restart"] = "no" if service.one_shot else "unless-stopped"
    if not service.one_shot:
        body["stop_grace_period"] = f"{service.grace_seconds}s"
    body["logging"] = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    return body


def _storage(service: Service) -> dict[str, Any]:
    mounts: list[Any] = [_mount(volume) for volume in service.volumes]
    if service.is_proxy:
        mounts.append({"type": "bind", "source": "./deploy/caddy", "target": "/etc/caddy", "read_only": True})
    body: dict[str, Any] = {}
    if mounts:
        body["volumes"] = mounts
    if service.tmpfs:
        body["tmpfs"] = list(service.tmpfs)
    return body


def _mount(volume: Volume) -> dict[str, Any]:
    mount: dict[str, Any] = {"type": "volume", "source": volume.name, "target": volume.path}
    if volume.adopt:
        # The image's own directory belongs to root; the volume's owner is set already.
        mount["volume"] = {"nocopy": True}
    return mount
