"""Who listens on a host whose /proc/net/tcp we can read; pure."""

from __future__ import annotations

import ipaddress
import re

_LISTENS = "0A"
IS_FOREIGN = "foreign"
# By the kernel's own routes, which have 127.0.0.2 too; none is foreign where programs may listen on what the
# machine does not have.
FOREIGN = (
    "command -v ip >/dev/null || exit 0; "
    '[ "$(cat /proc/sys/net/ipv{version}/ip_nonlocal_bind 2>/dev/null)" = 1 ] && exit 0; '
    'case "$(ip route get {address} 2>/dev/null)" in local*) ;; *) echo ' + IS_FOREIGN + ";; esac"
)
HOLDER = (
    "ss -Hltnp 'sport = :{port}' 2>/dev/null; "
    "docker ps --filter publish={port} --format 'container {{{{.Names}}}}' 2>/dev/null"
)


def listens(tables: str, address: str, port: int) -> bool:
    """Return whether something listens on that port of the address, by /proc/net/tcp and tcp6.

    All addresses meet every one.
    """
    wanted = ipaddress.ip_address(address)
    for line in tables.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[3] != _LISTENS:
            continue
        found, _, number = fields[1].partition(":")
        if int(number, 16) == port and _meets(_address(found), wanted):
            return True
    return False


def parse_holder(text: str) -> str:
    """Return `container NAME`, or `NAME, process PID`, of what HOLDER prints.

    It is "" when nobody may know.
    """
    if container := re.search(r"^container (\S+)", text, re.MULTILINE):
        return container[0]
    found = re.search(r'users:\(\("([^"]+)",pid=(\d+)', text)
    return f"{found[1]}, process {found[2]}" if found else ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that the kernel's table has in hexadecimal.

    The kernel writes each group of four bytes in the order of its own processor, which is little-endian
    nearly everywhere.
    """
    groups = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(groups))


def _meets(
    one: ipaddress.IPv4Address | ipaddress.IPv6Address, other: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> bool:
    return one == other or one.is_unspecified or other.is_unspecified
