"""Run beside the server: prints the process ids of its master and of its workers.

They are told apart by the socket that they wait on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PROC = Path("/proc")


def text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def parent(pid: int) -> int:
    stat = text(PROC / str(pid) / "stat")
    # The second field may hold spaces and parentheses; the parent is the fourth.
    return int(stat.rpartition(")")[2].split()[1]) if stat else 0


def listening() -> dict[str, str]:
    """Inode of each of the server's listening sockets: what it is for."""
    found = {}
    for line in text(PROC / "net/tcp").splitlines()[1:]:
        fields = line.split()
        port = int(fields[1].rpartition(":")[2], 16)
        if fields[3] == "0A" and port in {5000, 5001}:
            found[fields[9]] = "flask" if port == 5000 else "asgi"
    for line in text(PROC / "net/unix").splitlines()[1:]:
        fields = line.split()
        if fields[-1].endswith("/mlflow.sock"):
            found[fields[6]] = "flask"
        elif fields[-1].endswith("/mlflow-asgi.sock"):
            found[fields[6]] = "asgi"
    return found


def role(pid: int, sockets: dict[str, str]) -> str:
    """The socket that the process's event poll has; "" when it has none yet, or none at this moment."""
    folder = PROC / str(pid)
    try:
        names = {path.name: str(path.readlink()) for path in (folder / "fd").iterdir()}
    except OSError:
        return ""
    for name, target in names.items():
        if target != "anon_inode:[eventpoll]":
            continue
        for line in text(folder / "fdinfo" / name).splitlines():
            if line.startswith("tfd:"):
                watched = names.get(line.split()[1], "")
                inode = watched.removeprefix("socket:[").removesuffix("]")
                if inode in sockets:
                    return sockets[inode]
    return ""


def main() -> None:
    pids = [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
    if sys.argv[1] == "-":
        servers = [
            pid
            for pid in pids
            if text(PROC / str(pid) / "cmdline").startswith(
                "/opt/venv/bin/python\0-m\0provision_server\0server"
            )
        ]
        master = next(pid for pid in servers if parent(pid) not in servers)
    else:
        master = int(sys.argv[1])
    sockets = listening()
    found: dict[str, list[int]] = {"flask": [], "asgi": [], "unknown": []}
    for pid in pids:
        if parent(pid) == master and "\nState:\tZ" not in text(PROC / str(pid) / "status"):
            found[role(pid, sockets) or "unknown"].append(pid)
    print(json.dumps({"master": master, **{key: sorted(value) for key, value in found.items()}}))


main()
