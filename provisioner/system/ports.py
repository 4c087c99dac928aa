"""TCP ports of this machine: which are free, and who holds one."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import suppress
from pathlib import Path


def has_address(address: str) -> bool:
    """Return whether a server of this machine can listen on that address."""
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def is_free(address: str, port: int) -> bool:
    """Return whether nobody listens there.

    A port that this user may not open is free, since the runtime, which opens it, may; so is one of an
    address that this machine does not have.
    """
    # Whoever has it is a stranger, and not to be called.
    if not has_address(address):
        return True
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            # As servers do it: connections of a server that just ended must not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
    # A listener on all addresses (macOS' AirPlay on 5000) lets others bind one of them.
    try:
        socket.create_connection((address, port), timeout=0.5).close()
    except OSError:
        return True
    return False


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def first_unprivileged() -> int:
    """Return the first port on which others than root may listen."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        # macOS guards no port.
        return 1024 if sys.platform.startswith("linux") else 0


def next_free(address: str, start: int, tries: int = 100) -> int | None:
    """Return the first free port from `start` on; None when none of the next `tries` is."""
    ports = range(start, min(start + tries, 65536))
    return next((port for port in ports if is_free(address, port)), None)


def holder(port: int) -> str:
    """Return `NAME, process PID` of who listens on the port; "" when this user may not see it."""
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()}, process {connection.pid}"
    except psutil.Error:
        pass
    return ""


def listens(path: Path) -> bool:
    """Return whether a program takes connections on that Unix socket."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        connection.connect(str(path))
        return True
    return False
