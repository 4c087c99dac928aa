"""Failed logins, counted for all workers together, and how many passwords are hashed at once; stdlib only."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import ipaddress
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

# So many failures at once, then one each so many seconds.
BURST = 10
SECONDS_EACH = 6.0
KNOWN_SECONDS = 12 * 3600.0
ENTRIES = 4096
# A key has its place in one of so many neighbours.
WAYS = 4
_ENTRY = struct.Struct("<16sdd")
_KEY = os.urandom(32)
Clock = Callable[[], float]


def digest(*parts: str) -> bytes:
    """Return a key that tells nobody what it was made from, a password least of all."""
    made = hashlib.blake2b(digest_size=16, key=_KEY)
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        made.update(len(content).to_bytes(8, "big") + content)
    return made.digest()


@functools.lru_cache(1024)
def network(address: str) -> str:
    """Return the network that one client may have all of: an IPv4 address, or 64 bits of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


class Locks:
    """Locks over processes that were forked from this one; the kernel frees those of a process that ends."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the server is
        # The kernel's locks belong to a process: its threads take turns.
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def any(self, seconds: float) -> Iterator[bool]:
        """Hold one of the locks; yield False when none got free in that time."""
        end = time.monotonic() + seconds
        if not self._turn.acquire(timeout=seconds):
            yield False
            return
        try:
            place = self._take(end)
            try:
                yield place is not None
            finally:
                if place is not None:
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
        finally:
            self._turn.release()

    def _take(self, end: float) -> int | None:
        while True:
            for place in range(self._count):
                with contextlib.suppress(OSError):
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                    return place
            if time.monotonic() >= end:
                return None
            time.sleep(0.01)


class Table:
    """A number and a time for each of the last keys, in shared memory; what matters least makes room."""

    def __init__(self, matters: Callable[[float, float], float], entries: int = ENTRIES) -> None:
        self._memory = mmap.mmap(-1, entries * _ENTRY.size)
        self._sets = entries // WAYS
        self._matters = matters
        self._lock = Locks(1)

    def get(self, key: bytes) -> tuple[float, float]:
        """Return the key's number and time; zeros when there are none."""
        with self._lock.any(1):
            return self._of(self._find(key), key)

    def change(self, key: bytes, new: Callable[[float, float], tuple[float, float]]) -> None:
        """Replace the key's number and time by those that `new` makes from them."""
        with self._lock.any(1):
            place = self._find(key)
            _ENTRY.pack_into(self._memory, place * _ENTRY.size, key, *new(*self._of(place, key)))

    def _of(self, place: int, key: bytes) -> tuple[float, float]:
        found, number, when = self._read(place)
        return (number, when) if found == key else (0.0, 0.0)

    def _find(self, key: bytes) -> int:
        """Return the key's own place, else the one of its neighbours that matters least."""
        first = int.from_bytes(key[:8], "big") % self._sets * WAYS
        places = range(first, first + WAYS)
        own = [place for place in places if self._read(place)[0] == key]
        return own[0] if own else min(places, key=lambda place: self._matters(*self._read(place)[1:]))

    def _read(self, place: int) -> tuple[bytes, float, float]:
        key, number, when = _ENTRY.unpack_from(self._memory, place * _ENTRY.size)
        return bytes(key), float(number), float(when)


class Failures:
    """Failed logins by key: each fades with time, and too many make the next wait."""

    def __init__(self, clock: Clock = time.monotonic, entries: int = ENTRIES) -> None:
        self._clock = clock
        self._table = Table(self._level, entries)

    def _level(self, number: float, when: float) -> float:
        return max(0.0, number - (self._clock() - when) / SECONDS_EACH)

    def wait(self, key: bytes) -> float:
        """Return the seconds until the next attempt; 0 when it may be made now."""
        return max(0.0, (self._level(*self._table.get(key)) - BURST + 1) * SECONDS_EACH)

    def add(self, key: bytes) -> None:
        """Count one more failure."""
        self._table.change(key, lambda number, when: (self._level(number, when) + 1, self._clock()))


class Known:
    """Logins that were right not long ago."""

    def __init__(self, clock: Clock = time.monotonic, entries: int = ENTRIES) -> None:
        self._clock = clock
        self._table = Table(lambda number, when: when if number else 0.0, entries)

    def has(self, key: bytes) -> bool:
        """Return whether that login was right within the last 12 hours."""
        number, when = self._table.get(key)
        return bool(number) and self._clock() - when < KNOWN_SECONDS

    def add(self, key: bytes) -> None:
        """Record that the login was right now."""
        self._table.change(key, lambda *_: (1.0, self._clock()))

    def drop(self, key: bytes) -> None:
        """Record that the login is no longer right."""
        self._table.change(key, lambda *_: (0.0, 0.0))
