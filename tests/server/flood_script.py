"""Runs by itself: many connections send wrong logins as fast as answered; prints counts by status as JSON.

`flood_script.py HOST:PORT NAME CONNECTIONS SECONDS WAY`: `one` address and user, `many` addresses and a user
that exists, or `names` of users that do not exist, each from an address of its own.
Addresses are claimed as a trusted proxy does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
import time
from collections import Counter

BODY = b'{"max_results": 1}'


def request(name: str, way: str) -> bytes:
    number = random.getrandbits(32)
    user = f"nobody{number}" if way == "names" else "admin"
    address = (
        "192.0.2.7" if way == "one" else ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    )
    login = base64.b64encode(f"{user}:wrong {number}".encode()).decode()
    head = (
        f"POST /api/2.0/mlflow/experiments/search HTTP/1.1\r\nHost: {name}\r\n"
        f"Authorization: Basic {login}\r\nX-Forwarded-For: {address}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


async def connection(address: str, name: str, way: str, end: float, seen: Counter[str]) -> None:
    host, _, port = address.rpartition(":")
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            while time.monotonic() < end:
                writer.write(request(name, way))
                head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
                await reader.readexactly(length)
                seen[head.split()[1]] += 1
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            seen["broken"] += 1
        finally:
            writer.close()


async def main(address: str, name: str, count: str, seconds: str, way: str) -> None:
    seen: Counter[str] = Counter()
    end = time.monotonic() + float(seconds)
    await asyncio.gather(*(connection(address, name, way, end, seen) for _ in range(int(count))))
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
