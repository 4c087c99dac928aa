"""Logins before MLflow looks at them: who failed too often waits, few passwords are hashed at a time, a changed user counts at once.

A password costs a sixth of a second of CPU. MLflow remembers right logins for a while in each process; wrong ones are hashed each
time, by the threads that serve everybody, and its FastAPI application does it in its event loop. So they are judged here, and MLflow
finds those that were right remembered. What it remembers it drops only in the process that changed the user: here all processes
share a mark that changes with a user, and whoever sees it change forgets.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import threading
import time
from collections.abc import Iterator
from enum import Enum, auto

from attempts import Failures, Known, Locks, digest, network

# With the prefix of MLflow's REST API or of its page.
_CHANGES = re.compile(r"/(?:ajax-)?api/\d\.\d/mlflow/users/(?:update-password|update-admin|delete)")
_MARK = 16
# Seconds for a place among those whose passwords are hashed, and for what becomes of the same login.
PATIENCE, PATIENCE_SAME = 1.0, 20.0


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
        """What stays the same as long as no user changes."""
        return self._shared[:]

    def tell(self, path: str, status: int) -> None:
        """After a call that changed a user, every process forgets before it believes a login."""
        if status < 400 and _CHANGES.fullmatch(path):
            self._shared[:] = os.urandom(_MARK)

    def heed(self) -> None:
        """Remembered logins are gone if a user changed since this process looked."""
        mark = self.mark()
        if mark != self._seen:
            _forget()
            self._seen = mark


class Judge:
    """Judges logins for all processes forked from this one; `places` passwords of strangers are hashed at a time."""

    def __init__(self, places: int) -> None:
        self.changes = Changes()
        self._failures, self._known = Failures(), Known()
        self._places = Locks(places)
        # Of each process one thread at a time: the others are for those who are known.
        self._waiting = threading.BoundedSemaphore(1)
        self._one_known = threading.Lock()
        self._cases = _Cases()

    def remembers(self, user: str, password: str) -> bool:
        """Whether the login was right a moment ago, and no user changed since."""
        self.changes.heed()
        return _is_remembered(user, password)

    def judge(self, address: str, user: str, password: str) -> tuple[Verdict, float]:
        """The verdict, and for `later` the seconds to wait."""
        if self.remembers(user, password):
            return Verdict.right, 0
        login, attempt = digest(user, password), digest(network(address), user)
        known = self._known.has(login)
        # However often others failed: whoever knows the password is not locked out.
        if not known and (wait := self._failures.wait(attempt)):
            return Verdict.later, wait
        if known:
            return self._settle(known, login, attempt, user, password)
        if not self._waiting.acquire(blocking=False):
            return Verdict.later, PATIENCE
        try:
            return self._settle(known, login, attempt, user, password)
        finally:
            self._waiting.release()

    def _settle(self, known: bool, login: bytes, attempt: bytes, user: str, password: str) -> tuple[Verdict, float]:
        """The verdict of the one case that this login is, however often it was sent meanwhile."""
        case, is_first = self._cases.open(login)
        if is_first:
            with self._cases.closing(login, case):
                case.verdict = self._hashed(known, login, user, password)
        elif not case.decided.wait(PATIENCE_SAME):
            return Verdict.later, PATIENCE
        if case.verdict is Verdict.wrong:
            self._failures.add(attempt)
        return case.verdict, PATIENCE

    def _hashed(self, known: bool, login: bytes, user: str, password: str) -> Verdict:
        """What hashing the password says, once there is a place for it."""
        if known:
            with self._one_known:
                return self._hash(login, user, password)
        with self._places.any(PATIENCE) as free:
            if not free:
                return Verdict.later
            started = time.monotonic()
            verdict = self._hash(login, user, password)
            if verdict is Verdict.wrong:
                # As long again the place does nothing: others need the processor.
                time.sleep(time.monotonic() - started)
            return verdict

    def _hash(self, login: bytes, user: str, password: str) -> Verdict:
        if _is_right(user, password, self.changes):
            self._known.add(login)
            return Verdict.right
        self._known.drop(login)
        return Verdict.wrong


class _Case:
    """A login that is being judged."""

    def __init__(self) -> None:
        self.decided = threading.Event()
        self.verdict = Verdict.later


class _Cases:
    """The logins that this process judges now: the same one, sent again meanwhile, is judged once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[bytes, _Case] = {}

    def open(self, login: bytes) -> tuple[_Case, bool]:
        """The login's case, and whether it is for the caller to decide."""
        with self._lock:
            there = self._open.get(login)
            case = there or self._open.setdefault(login, _Case())
            return case, there is None

    @contextlib.contextmanager
    def closing(self, login: bytes, case: _Case) -> Iterator[None]:
        """At its end all who wait for the case go on."""
        try:
            yield
        finally:
            with self._lock:
                del self._open[login]
            case.decided.set()


def _forget() -> None:
    """MLflow in this process remembers no login."""
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
    """Whether MLflow takes the login, which it then remembers; what changed while it looked does not count."""
    from mlflow.server import auth

    while True:
        mark = changes.mark()
        found = auth._authenticate_cached(user, password)
        if changes.mark() == mark:
            return found is not None
        _forget()
