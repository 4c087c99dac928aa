"""What a server says of itself, asked by one script; what of it keeps a stack from running there. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provisioner.runtimes.base import NEWER_PROCESSOR, TOO_OLD_PROCESSOR
from provisioner.runtimes.docker.cli import MINIMUM_COMPOSE, MINIMUM_ENGINE, version_tuple
from provisioner.system.listeners import listens
from provisioner.system.processor import lacks_for_v2

MEMORY_MB = 1500
DISK_MB = {"first": 3000, "later": 500}
FOLDER_MB = 50
# What Docker has where nothing is configured: 16 networks of 172.17-31.0.0/16 and 16 below 192.168.0.0.
POOLS, NETWORKS = 31, 3
_SECTIONS = {
    "system": "uname -s; uname -m",
    "docker": "docker version --format '{{.Server.Version}}' 2>&1",
    "compose": "docker compose version --short 2>&1",
    "memory": "cat /proc/meminfo",
    "processor": "grep -m1 '^flags' /proc/cpuinfo",
    "flock": "command -v flock",
    "root": "docker info --format '{{.DockerRootDir}}' 2>/dev/null",
    "engine_disk": (
        "df -Pk \"$(docker info --format '{{.DockerRootDir}}' 2>/dev/null || echo /var/lib)\" 2>/dev/null "
        "|| df -Pk /"
    ),
    "folder_disk": (
        'd="$1"; while [ ! -d "$d" ]; do d=$(dirname "$d"); done; df -Pk "$d"; [ -w "$d" ] || echo readonly'
    ),
    "ports": "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null",
    "networks": (
        "docker network inspect $(docker network ls -q 2>/dev/null) "
        '--format \'{{.Name}} {{index .Labels "com.docker.compose.project"}};'
        "{{range .IPAM.Config}}{{.Subnet}} {{end}}' 2>/dev/null"
    ),
    "routes": "ip -4 route show 2>/dev/null",
    "addresses": "ip -o addr show scope global 2>/dev/null || hostname -I",
    "client": 'echo "${SSH_CONNECTION:-}"',
}
_MARK = "=== provision "


@dataclass(frozen=True)
class Finding:
    """One thing that keeps the stack from running, and what fixes it."""

    what: str
    why: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a deploy needs of a server: ports that are not its own yet, and whether images have to be made."""

    address: str
    ports: tuple[int, ...]
    first: bool


def script() -> str:
    """Return the shell script that prints all facts; `$1` is the stack's directory."""
    return (
        "\n".join(f"echo '{_MARK}{name}'; {{ {command}; }}" for name, command in _SECTIONS.items()) + "\ntrue"
    )


def parse(text: str) -> dict[str, str]:
    """Return what each command of the script printed, by its name."""
    parts = text.split(_MARK)[1:]
    return {name: said.strip() for name, _, said in (part.partition("\n") for part in parts)}


def findings(facts: Mapping[str, str], wanted: Wanted) -> Iterator[Finding]:
    """Yield everything that is missing, at once; for a server that is not Linux, only that."""
    if not facts.get("system", "").startswith("Linux"):
        yield Finding(
            "the server is no Linux",
            facts.get("system", "").partition("\n")[0],
            "Docker stacks are deployed to Linux servers",
        )
        return
    yield from _programs(facts)
    if lacking := lacks_for_v2(facts.get("processor", "").encode()):
        yield Finding(TOO_OLD_PROCESSOR, f"it lacks {', '.join(lacking)}", NEWER_PROCESSOR)
    yield from _room(facts, wanted)
    for port in wanted.ports:
        if listens(facts.get("ports", ""), wanted.address, port):
            yield Finding(
                f"port {port} is already in use",
                f"something listens on {wanted.address}",
                "stop it, or take `--port`",
            )
    yield from _networks(facts)


def addresses(facts: Mapping[str, str]) -> set[str]:
    """Return every address of the server that others may reach it by."""
    found = set(re.findall(r"inet6? ([0-9a-fA-F.:]+)", facts.get("addresses", "")))
    found |= set(facts.get("addresses", "").split()) if not found else set()
    return found | set(facts.get("client", "").split()[2:3])


def _programs(facts: Mapping[str, str]) -> Iterator[Finding]:
    docker, compose = facts.get("docker", ""), facts.get("compose", "")
    engine = docker.splitlines()[-1] if docker else ""
    if re.search(r"permission denied", docker, re.IGNORECASE):
        group = (
            "`sudo usermod -aG docker USER` on the server, then deploy again; "
            "members of that group are as mighty as root"
        )
        yield Finding("this account may not use the Docker engine", engine, group)
    elif "not found" in docker or not docker:
        yield Finding(
            "Docker is not installed",
            hint="install Docker Engine and its Compose plugin (docs.docker.com/engine/install)",
        )
        return
    elif not re.match(r"\d+\.\d+", engine):
        yield Finding(
            "the Docker engine is not running", engine, "`sudo systemctl enable --now docker` on the server"
        )
    elif version_tuple(engine) < MINIMUM_ENGINE:
        yield Finding(
            f"Docker engine {engine} is too old",
            f"{_dotted(MINIMUM_ENGINE)} or later is needed",
            "update Docker",
        )
    found = compose.splitlines()[-1] if compose else ""
    if not re.match(r"v?\d+\.\d+", found):
        yield Finding(
            "Docker's Compose plugin is missing", found, "install the package docker-compose-plugin"
        )
    elif version_tuple(found) < MINIMUM_COMPOSE:
        hint = "update the package docker-compose-plugin"
        yield Finding(
            f"Docker Compose {found} is too old", f"{_dotted(MINIMUM_COMPOSE)} or later is needed", hint
        )
    if not facts.get("flock"):
        yield Finding("the program flock is missing", hint="install the package util-linux")


def _room(facts: Mapping[str, str], wanted: Wanted) -> Iterator[Finding]:
    memory = _megabytes(re.search(r"MemTotal:\s+(\d+)", facts.get("memory", "")))
    if memory is not None and memory < MEMORY_MB:
        yield Finding(
            f"the server has {memory} MB of memory", f"a stack needs {MEMORY_MB}", "take a larger server"
        )
    needed = DISK_MB["first" if wanted.first else "later"]
    for key, where, least in (
        ("engine_disk", facts.get("root") or "Docker's disk", needed),
        ("folder_disk", "the account's home directory", FOLDER_MB),
    ):
        free = _megabytes(re.search(r"^\S+\s+\d+\s+\d+\s+(\d+)\s+\d+%", facts.get(key, ""), re.MULTILINE))
        if free is not None and free < least:
            yield Finding(
                f"the disk of {where} has {free} MB free",
                f"{least} are needed",
                "make room (`docker system df` shows what images use)",
            )
    if "readonly" in facts.get("folder_disk", "").split():
        yield Finding(
            "the account's home directory cannot be written to",
            hint="give it to the account, or use another account",
        )


def _networks(facts: Mapping[str, str]) -> Iterator[Finding]:
    """Yield where Docker's subnets meet other routes or the address that we come from, or none is left."""
    nets = list(_docker_networks(facts.get("networks", "")))
    client = (facts.get("client", "").split() or [""])[0]
    hint = (
        "set `default-address-pools` in /etc/docker/daemon.json on the server to subnets that nobody uses, "
        "and restart Docker"
    )
    for name, subnet in nets:
        if _is_in(client, subnet):
            yield Finding(
                f"Docker's network {name} has the subnet that you come from", f"{client} is in {subnet}", hint
            )
        for route, device in _routes(facts.get("routes", "")):
            if route.overlaps(subnet) and route.prefixlen and not _is_dockers(device):
                yield Finding(
                    f"Docker's network {name} has a subnet that is somewhere else too",
                    f"{subnet}, and {route} by {device}",
                    hint,
                )
    if len(nets) > POOLS - NETWORKS:
        yield Finding(
            "Docker has no subnets left",
            f"{len(nets)} networks are there",
            f"`docker network prune`; or {hint}",
        )


def _docker_networks(text: str) -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    for line in text.splitlines():
        name, _, subnets = line.partition(";")
        for subnet in subnets.split():
            network = ipaddress.ip_network(subnet, strict=False)
            if isinstance(network, ipaddress.IPv4Network):
                yield name.split()[0], network


def _routes(text: str) -> Iterator[tuple[ipaddress.IPv4Network, str]]:
    for line in text.splitlines():
        found = re.match(r"(\d+\.\d+\.\d+\.\d+(?:/\d+)?) .*\bdev (\S+)", line)
        if found:
            yield ipaddress.IPv4Network(found[1], strict=False), found[2]


def _is_dockers(device: str) -> bool:
    return device.startswith(("br-", "docker", "veth"))


def _is_in(address: str, subnet: ipaddress.IPv4Network) -> bool:
    try:
        return ipaddress.ip_address(address) in subnet
    except ValueError:
        return False


def _megabytes(found: re.Match[str] | None) -> int | None:
    return int(found[1]) // 1024 if found else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
