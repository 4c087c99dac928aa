"""What of an engine and its machine keeps a stack's images from running, found before anything is made."""

from __future__ import annotations

import re
from pathlib import Path

from provisioner.errors import PreflightError
from provisioner.runtimes.docker.cli import version_tuple

# Compose before it asks in the API 1.43 at most (https://github.com/docker/compose/releases/tag/v2.24.0).
_COMPOSE_FOR_API_1_44 = (2, 24)
# The SELinux context that files of a directory get, where SELinux is enforced: a directory that is not there
# will have its parent's.
LABEL = """\
[ "$(cat /sys/fs/selinux/enforce 2>/dev/null)" = 1 ] || exit 0
d=$1; while [ ! -d "$d" ]; do d=$(dirname "$d"); done
stat -c %C "$d"
"""
_READABLE_TYPES = ("container_file_t", "container_share_t", "container_ro_file_t", "svirt_sandbox_file_t")
# The first whose seccomp profile answers clone3 with "no such system call", after which C libraries take
# another one.
_KNOWS_CLONE3 = 10


def check_api(minimum_api: str, compose_version: str) -> None:
    """Raise PreflightError for a Compose that asks in an API which the engine no longer has."""
    if version_tuple(minimum_api) >= (1, 44) and version_tuple(compose_version) < _COMPOSE_FOR_API_1_44:
        raise PreflightError(
            f"Docker Compose {compose_version} is too old for this engine",
            why=f"the engine answers API {minimum_api} and later",
            hint="update the package docker-compose-plugin to 2.24 or later",
        )


def check_label(label: str, directory: Path) -> None:
    """Raise PreflightError where SELinux keeps containers from reading the stack's files.

    `label` is what `LABEL` printed.
    """
    parts = label.strip().split(":")
    if len(parts) < 3 or parts[2] in _READABLE_TYPES:
        return
    raise PreflightError(
        "SELinux keeps containers from reading the stack's files",
        where=str(directory),
        why=f"the engine runs with SELinux, and the directory is {parts[2]}",
        hint=(
            f"label it for containers: `mkdir -p {directory} && sudo chcon -Rt container_file_t {directory}`"
        ),
    )


def refuses_threads(engine_version: str, log: str) -> bool:
    """Return whether an engine's seccomp profile is why a service failed that wrote this."""
    found = re.match(r"20\.10\.(\d+)", engine_version)
    refused = re.search(r"operation not permitted|can't start new thread", log, re.IGNORECASE)
    return bool(found and int(found[1]) < _KNOWS_CLONE3 and refused)
