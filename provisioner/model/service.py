"""A service of a stack: what it runs, what it may use, what it waits for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from provisioner.model.secret import SecretSpec
from provisioner.model.typed import check_types, types_of

Network = Literal["data", "web", "edge"]
# Whom the services run as in containers, where an image asks for no other user.
OUR_USER = "10001:10001"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
# Where another release may have words that this one has not.
_WORDS = {"image": str, "networks": tuple[str, ...], "depends_on": dict[str, str]}


@dataclass(frozen=True)
class Volume:
    """A named volume and the path where a service has it; `adopt`: its owner is taken from another image."""

    name: str
    path: str
    adopt: bool = False
    holds: str = ""
    """What is in it, as a person calls it."""


@dataclass(frozen=True)
class Service:
    """One service: which image, what it may use, what it waits for."""

    name: str
    image: Literal["server", "postgres", "minio", "caddy"]
    role: str
    user: str
    command: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    networks: tuple[Network, ...] = ()
    depends_on: dict[str, Literal["completed", "started"]] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    memory: str = "256m"
    cpus: float | None = None
    pids: int = 256
    shm: str = ""
    capabilities: tuple[str, ...] = ()
    grace_seconds: int = 10
    one_shot: bool = False
    is_proxy: bool = False


def secrets_of(specs: Iterable[SecretSpec], service: str) -> tuple[str, ...]:
    """Return the names of the secrets that the service has."""
    return tuple(spec.name for spec in specs if service in spec.services)


def service_from(data: Mapping[str, Any]) -> Service:
    """Return the service of which `asdict` gave that; leave out what only another release knows of it.

    Raise TypeError or ValueError where it has something else.
    """
    check_types(data, types_of(Service) | _WORDS, "services: ")
    if not _NAME.fullmatch(str(data.get("name", "a"))):
        raise ValueError(f"services: name is {data['name'][:80]!r}")
    known = {item.name for item in fields(Service)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in data.items()
        if name in known
    }
    values["volumes"] = tuple(Volume(**volume) for volume in data.get("volumes", ()))
    return Service(**values)


def megabytes(memory: str) -> int:
    """Return `2g` or `512m` of the settings as MB."""
    return int(memory[:-1]) * (1024 if memory.endswith("g") else 1)
