"""Logins before MLflow's: few passwords are hashed at a time, only wrong ones count, a changed user at once.

A password costs a sixth of a second of CPU. MLflow remembers right logins for a while in each process; wrong
ones are hashed each time, by the threads that serve everybody, and its FastAPI application does it in its
event loop. So they are judged here, and MLflow finds those that were right remembered. Who was never right
waits for a turn among its like, and who was right waits for none of them. What MLflow remembers it drops only
in the process that changed the user: here all processes share a mark that changes with a user,
and whoever sees it change forgets.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import TypeVar

from provision_server.auth.rate_limit import Failures, Known, Locks, digest, network

_T = TypeVar("_T")
# With the prefix of MLflow's REST API or of its page.
_CHANGES = re.compile(r"/(?:ajax-)?api/\d\.\d/mlflow/users/(?:update-password|update-admin|delete)")
_MARK = 16
# Seconds that a stranger waits for its turn, and then for one of the places;
# and after which it may come again.
PATIENCE, PAUSE = 20.0, 2.0
# Strangers in each process; each is a request that is held.
MOST_WAITING = 256


class Verdict(Enum):
    """What becomes of a login."""

    right = auto()
    wrong = auto()
    later = auto()


class Changes:
    """A mark of the last change of any user, in memory that every process forked from this one shares."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _MARK)
        self._seen = self.mark()

    def mark(self) -> bytes:
        """Return the mark, which stays the same as long as no user changes."""
        return self._shared[:]

    def publish(self, path: str, status: int) -> None:
        """Change the mark after a call that changed a user.

        Every process then forgets before it trusts a login.
        """
        if status < 400 and _CHANGES.fullmatch(path):
            self._shared[:] = os.urandom(_MARK)

    def sync_cache(self) -> None:
        """Forget remembered logins if a user changed since this process looked."""
        mark = self.mark()
        if mark != self._seen:
            _forget()
            self._seen = mark


class LoginGuard:
    """Judges logins for all processes forked from this one.

    `places` passwords of strangers are hashed at a time.
    """

    def __init__(self, places: int) -> None:
        self.changes = Changes()
        self._failures, self._known = Failures(), Known()
        # Wrong until a user changes; and once right, wrong since a change.
        self._refuted, self._former = Known(), Known()
        self._places = Locks(places)
        # Strangers wait for each other, and never those who are known.
        # Threads begin after the fork, at the first login.
        self._turns = Turns(MOST_WAITING)
        self._strangers, self._acquaintances, self._tables = (ThreadPoolExecutor(1) for _ in range(3))

    def remembers(self, user: str, password: str) -> bool:
        """Return whether the login was right a moment ago, and no user changed since."""
        self.changes.sync_cache()
        return _is_remembered(user, password)

    async def guard(self, address: str, user: str, password: str) -> tuple[Verdict, float]:
        """Return the verdict, and for `later` the seconds to wait."""
        attempt = Attempt(user, password, digest(network(address), user))
        if settled := await self._settled(attempt):
            return settled
        async with self._turns.turn(attempt.counted_as, PATIENCE) as is_mine:
            if not is_mine:
                return Verdict.later, PAUSE
            # What those before it sent may have settled it.
            if settled := await self._settled(attempt):
                return settled
            return await _run(self._strangers, self._look_in_place, attempt), PAUSE

    async def _settled(self, attempt: Attempt) -> tuple[Verdict, float] | None:
        """Return the verdict on a login that need not wait among unknown users; None for one that must."""
        # However often others failed: whoever knows the password is not locked out.
        if await _run(self._tables, self._is_known, attempt):
            return await _run(self._acquaintances, self._look, attempt), PAUSE
        return await _run(self._tables, self._looked_up, attempt)

    def _is_known(self, attempt: Attempt) -> bool:
        return self._known.has(attempt.login)

    def _looked_up(self, attempt: Attempt) -> tuple[Verdict, float] | None:
        # A password that was wrong says nothing new when it comes again, and does not count.
        if self._refuted.has(self._until_a_change(attempt)):
            return Verdict.wrong, 0
        wait = self._failures.wait(attempt.counted_as)
        return (Verdict.later, wait) if wait else None

    def _until_a_change(self, attempt: Attempt) -> bytes:
        return digest(attempt.user, attempt.password, self.changes.mark().hex())

    def _look_in_place(self, attempt: Attempt) -> Verdict:
        """Hash an unknown user's password once there is a place for it; return the verdict.

        Return `later` when no place gets free in time.
        """
        with self._places.any(PATIENCE) as free:
            if not free:
                return Verdict.later
            started = time.monotonic()
            verdict = self._look(attempt)
            if verdict is Verdict.wrong:
                # As long again the place does nothing: others need the processor.
                time.sleep(time.monotonic() - started)
            return verdict

    def _look(self, attempt: Attempt) -> Verdict:
        # It may have waited for long.
        self.changes.sync_cache()
        key = self._until_a_change(attempt)
        if self._refuted.has(key):
            # By one that stood before it.
            return Verdict.wrong
        if _is_right(attempt.user, attempt.password, self.changes):
            self._known.add(attempt.login)
            return Verdict.right
        self._refuted.add(key)
        if self._known.has(attempt.login):
            # Programs go on with a password that was changed, which is no guess.
            self._former.add(attempt.login)
            self._known.drop(attempt.login)
        elif not self._former.has(attempt.login):
            self._failures.add(attempt.counted_as)
        return Verdict.wrong


@dataclass(frozen=True)
class Attempt:
    """A login that has to be looked at; `counted_as` is the key of its failures."""

    user: str
    password: str
    counted_as: bytes

    @cached_property
    def login(self) -> bytes:
        """Return the key that the login is known by."""
        return digest(self.user, self.password)


async def _run(threads: Executor, work: Callable[[Attempt], _T], attempt: Attempt) -> _T:
    return await asyncio.get_running_loop().run_in_executor(threads, work, attempt)


class Turns:
    """One of a process's coroutines at a time.

    Of those who wait, each key has its turn, and then the next one of the same key.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}
        self._count = 0
        self._is_taken = False

    @contextlib.asynccontextmanager
    async def turn(self, key: bytes, seconds: float) -> AsyncIterator[bool]:
        """Hold the turn; yield False when it did not come in that time, or too many wait already."""
        is_mine = await self._wait(key, seconds) if self._is_taken else True
        self._is_taken = True
        try:
            yield is_mine
        finally:
            if is_mine:
                self._hand_on()

    async def _wait(self, key: bytes, seconds: float) -> bool:
        if self._count >= self._most:
            return False
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(mine)
        self._count += 1
        try:
            await asyncio.wait({mine}, timeout=seconds)
        except asyncio.CancelledError:
            if mine.done():
                self._hand_on()
            raise
        finally:
            self._count -= 1
            # Whose turn has not come by now does not want it any more.
            mine.cancel()
        return not mine.cancelled()

    def _hand_on(self) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            queue = self._waiting.pop(key)
            first = queue.popleft()
            if queue:
                # Behind the others.
                self._waiting[key] = queue
            if not first.done():
                first.set_result(None)
                return
        self._is_taken = False


def _forget() -> None:
    """Make MLflow in this process forget all logins."""
    from mlflow.server import auth

    with auth._USER_AUTH_CACHE_LOCK:
        if auth._USER_AUTH_CACHE is not None:
            auth._USER_AUTH_CACHE.clear()


def _is_remembered(user: str, password: str) -> bool:
    from mlflow.server import auth

    key = auth._auth_cache_key(user, password)
    with auth._USER_AUTH_CACHE_LOCK:
        return auth._USER_AUTH_CACHE is not None and key in auth._USER_AUTH_CACHE


def _is_right(user: str, password: str, changes: Changes) -> bool:
    """Return whether MLflow accepts the login, which it then remembers.

    Ask again when a user changed meanwhile.
    """
    from mlflow.server import auth

    while True:
        mark = changes.mark()
        found = auth._authenticate_cached(user, password)
        if changes.mark() == mark:
            return found is not None
        _forget()


def is_admin(user: str | None) -> bool:
    """Return whether the user, None for an unauthenticated client, is an admin."""
    from mlflow.server import auth

    return bool(user and auth.store.get_user(user).is_admin)
