"""What of a stack's settings and place the embedded runtime cannot have, found before anything is made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from provisioner.errors import PreflightError
from provisioner.model.proxy import redirect_port, terminates_tls
from provisioner.model.settings import ServerSettings
from provisioner.runtimes.embedded import filesystem
from provisioner.runtimes.embedded.filesystem import Mount
from provisioner.runtimes.embedded.service_user import ServiceUser
from provisioner.system.ports import first_unprivileged

NEEDED_BYTES = 500_000_000


def check_file_system(data: Path, mount_table: Iterable[Mount] | None) -> None:
    """Raise PreflightError unless the data may be written where it goes: on a local disk with room.

    Without a mount table this machine's is asked.
    """
    table = filesystem.mount_table() if mount_table is None else mount_table
    mount = filesystem.mount_of(data, table)
    if mount and filesystem.is_network(mount):
        raise PreflightError(
            f"the stack's directory is on a network file system ({mount.kind}), "
            "where a database gets damaged",
            where=f"{data}, mounted at {mount.point}",
            why=(
                "locks and flushes do not hold there as PostgreSQL needs them, "
                "and other machines may open the same files"
            ),
            hint="choose a directory on a local disk: `provision up --stack /var/tmp/mlflow-stack`",
        )
    free = filesystem.free_bytes(data)
    if free < NEEDED_BYTES:
        raise PreflightError(
            f"{free // 1_000_000} MB are free where the data goes, "
            f"{NEEDED_BYTES // 1_000_000} are needed to start",
            where=str(data),
            hint="free some space, or choose another directory: `provision up --stack DIR`",
        )


def check_proxy(
    server: ServerSettings, front_port: int, account: ServiceUser, unprivileged: int | None = None
) -> None:
    """Raise PreflightError unless the proxy can serve these settings, on that port and as the account.

    Without a first unprivileged port this machine's counts.
    """
    if server.genai and terminates_tls(server):
        raise PreflightError(
            "server.genai with TLS needs Docker",
            where="server.genai in provision.yml",
            why="MLflow's jobs would reach the server by its public name only",
            hint="leave out server.genai, or `--runtime docker`",
        )
    guarded = first_unprivileged() if unprivileged is None else unprivileged
    wanted = (front_port, redirect_port(server, front_port))
    if refused := sorted({port for port in wanted if port is not None and port < guarded}):
        ports = f"port{'s' * (len(refused) > 1)} {' and '.join(map(str, refused))}"
        raise PreflightError(
            f"the proxy may not listen on {ports}: the services run as {account.name}, not as root",
            where="server.port, server.http_port or server.public_url in provision.yml",
            why=f"ports below {guarded} are for root on this machine",
            hint=(
                f"`sysctl -w net.ipv4.ip_unprivileged_port_start={refused[0]}` as root; "
                "or a higher port, forwarded to"
            ),
        )
