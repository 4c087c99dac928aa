"""Logins that the workers remember, and that all of them forget as soon as a user is changed.

MLflow keeps right logins for a while in each process, since a password costs a quarter of a second of CPU, and drops them only in
the process that changed the user. Here all processes share a mark: it changes with a user, and whoever sees it change forgets.
"""

from __future__ import annotations

import mmap
import os
import re
from typing import Any

# With the prefix of MLflow's REST API or of its page.
_CHANGES = re.compile(r"/(?:ajax-)?api/\d\.\d/mlflow/users/(?:update-password|update-admin|delete)")
_MARK = 16


class Changes:
    """A mark of the last change of any user, in memory that every process forked from this one shares."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _MARK)
        self._seen = self.mark()

    def mark(self) -> bytes:
        """What stays the same as long as no user changes."""
        return self._shared[:]

    def tell(self) -> None:
        """From now on every process forgets before it believes a login."""
        self._shared[:] = os.urandom(_MARK)

    def heed(self) -> None:
        """Remembered logins are gone if a user changed since this process looked."""
        mark = self.mark()
        if mark != self._seen:
            forget()
            self._seen = mark


def forget() -> None:
    """MLflow in this process remembers no login."""
    from mlflow.server import auth

    with auth._USER_AUTH_CACHE_LOCK:
        if auth._USER_AUTH_CACHE is not None:
            auth._USER_AUTH_CACHE.clear()


def forget_changed_users(flask: Any, asgi: Any) -> Any:
    """The FastAPI application that heeds changes; the Flask application, where users are changed, does so from here on."""
    changes = Changes()

    def heed() -> None:
        changes.heed()

    def tell(response: Any) -> Any:
        from flask import request

        if response.status_code < 400 and _CHANGES.fullmatch(request.path):
            changes.tell()
        return response

    flask.before_request_funcs.setdefault(None, []).insert(0, heed)
    flask.after_request(tell)
    return _Heeding(asgi, changes)


class _Heeding:
    """An ASGI application around another one."""

    def __init__(self, application: Any, changes: Changes) -> None:
        self._application = application
        self._changes = changes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._changes.heed()
        await self._application(scope, receive, send)
