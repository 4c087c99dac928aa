"""What one client may have of a process: requests with a body to come, and bytes of bodies and answers.

A client is a login, else an address. What it has may be sent or read slowly: others have the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import cast

from provision_server.auth.rate_limit import network
from provision_server.messages import ADDRESS, LATE, USER, Message, Refused, header_values, mlflow_error

MB = 1_000_000
MOST = 100 * MB
MOST_OF_ONE = 50 * MB
# Each is a connection, which costs the proxy memory too.
MOST_TO_COME = 200
# Of each request: what is small is always taken, also where many share an address.
NOT_COUNTED = 64_000


_BUSY = mlflow_error(
    503, "TEMPORARILY_UNAVAILABLE", "Too much of yours is under way at once; try again.", ("Retry-After", "1")
)


def client_of(scope: Message) -> str:
    """Return who asks: a valid login, else an address."""
    return scope.get(USER) or network("".join(header_values(scope, ADDRESS)))


class Shares:
    """What each client has of one event loop."""

    def __init__(
        self, most: int = MOST, most_of_one: int = MOST_OF_ONE, most_to_come: int = MOST_TO_COME
    ) -> None:
        self._most, self._most_of_one, self._most_to_come = most, most_of_one, most_to_come
        self._bytes: Counter[str] = Counter()
        # The tasks that wait, in the order in which they began.
        self._to_come: defaultdict[str, dict[asyncio.Task[None], None]] = defaultdict(dict)

    def has_room(self, client: str, size: int) -> bool:
        """Return whether so many bytes more are within what the client may have, and within what all may."""
        return (
            self._bytes[client] + size <= self._most_of_one and sum(self._bytes.values()) + size <= self._most
        )

    def held(self, client: str) -> int:
        """Return the number of the client's bytes."""
        return self._bytes[client]

    def add(self, client: str, size: int) -> None:
        """Add so many bytes to the client's; a negative number takes them away."""
        self._bytes[client] += size
        if not self._bytes[client]:
            del self._bytes[client]

    @contextlib.contextmanager
    def to_come(self, client: str) -> Iterator[None]:
        """Run the block as one that waits for a body; where too many of a client do, end the longest wait.

        Refused is raised in its place. So whoever sends at once is served, also beside many of the same
        address that do not.
        """
        task, waiting = cast("asyncio.Task[None]", asyncio.current_task()), self._to_come[client]
        waiting[task] = None
        if len(waiting) > self._most_to_come:
            longest = next(iter(waiting))
            del waiting[longest]
            longest.cancel()
        try:
            yield
        except asyncio.CancelledError:
            if task in waiting:
                raise
            # Python 3.10 does not count who cancelled.
            getattr(task, "uncancel", int)()
            raise Refused(LATE) from None
        finally:
            waiting.pop(task, None)
            if not waiting:
                self._to_come.pop(client, None)


class Share:
    """What one request has of its client's bytes."""

    def __init__(self, shares: Shares, client: str) -> None:
        self._shares, self._client = shares, client
        self._size = self._counted = 0

    def take(self, size: int) -> None:
        """Take so many bytes more; raise Refused when there is no room for them.

        A client's only large request always has room, within limits of its own.
        """
        new = self._size + size
        more = (new if new > NOT_COUNTED else 0) - self._counted
        if more:
            is_only = self._shares.held(self._client) == self._counted
            if not is_only and not self._shares.has_room(self._client, more):
                raise Refused(_BUSY)
            self._counted += more
            self._shares.add(self._client, more)
        self._size = new

    def end(self) -> None:
        """Give back everything that the request holds."""
        if self._counted:
            self._shares.add(self._client, -self._counted)
        self._size = self._counted = 0
