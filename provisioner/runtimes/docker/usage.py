"""What the containers of a stack use, from Docker's own numbers and the kernel's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from provisioner.errors import ProvisionError
from provisioner.runtimes.base import Usage
from provisioner.runtimes.docker import cli
from provisioner.runtimes.docker.engine import Engine

# How often the kernel ended a process of the container's present run, where control groups of either version
# tell it.
COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_STATS = ("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}\t{{.MemUsage}}")
_EVENTS = ("events", "--since", "24h", "--until", "0s", "--filter", "event=oom", "--format", "{{.ID}}")
_INSPECTED = "{{.Id}} {{.RestartCount}} {{.HostConfig.Memory}} {{.State.OOMKilled}}"


def read_usage(engine: Engine, project: str, names: list[str]) -> dict[str, Usage]:
    """Return the usage of those services that have a container, by name."""
    listed = engine.containers()
    containers = {name: found[-1] for name in names if (found := cli.containers_of(listed, name))}
    if not containers:
        return {}
    ids = list(containers.values())
    with ThreadPoolExecutor() as pool:
        stats = pool.submit(_asked, engine, *_STATS, *ids)
        events = pool.submit(
            _asked, engine, *_EVENTS, "--filter", f"label=com.docker.compose.project={project}"
        )
        counted = {
            name: pool.submit(_asked, engine, "exec", container, "cat", *COUNTERS)
            for name, container in containers.items()
        }
        memory, ended = parse_stats(stats.result()), events.result()
        inspected = inspect(engine, ids)
        return {
            name: Usage(
                memory.get(container),
                inspected[container].limit,
                inspected[container].restarts,
                # Each forgets what another one knows: a former run, one of long ago, a child process.
                max(
                    parse_counters(counted[name].result()),
                    ended.count(container),
                    inspected[container].killed,
                ),
            )
            for name, container in containers.items()
        }


def inspect(engine: Engine, containers: Sequence[str]) -> Mapping[str, Usage]:
    """Return each container's limit and restarts, and whether its last run ended for memory, by id."""
    return parse_inspected(engine.docker("inspect", "--format", _INSPECTED, *containers).text)


def _asked(engine: Engine, *arguments: str) -> str:
    """Return what Docker prints, which may be nothing for a container that is not running."""
    try:
        return engine.docker(*arguments, check=False).text
    except ProvisionError:
        return ""


def parse_stats(text: str) -> Mapping[str, int]:
    """Return the bytes of each container, from rows of `ID`, tab, `335MiB / 2GiB`."""
    found = {}
    for row in text.splitlines():
        identifier, _, numbers = row.partition("\t")
        if match := re.match(r"([0-9.]+)([A-Za-z]+) /", numbers):
            found[identifier] = int(float(match[1]) * _UNITS.get(match[2], 0))
    return found


def parse_inspected(text: str) -> Mapping[str, Usage]:
    """Return the usage of each container, from the rows that `inspect` asks for."""
    rows = [row.split() for row in text.splitlines()]
    return {
        found: Usage(None, int(limit) or None, int(restarts), int(killed == "true"))
        for found, restarts, limit, killed in rows
    }


def parse_counters(text: str) -> int:
    """Return how often the kernel ended a process, from `memory.events` or `memory.oom_control`."""
    match = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(match[1]) if match else 0
