"""Workers of one gunicorn, each with an event loop.

One is for MLflow's FastAPI application, the others are for its Flask one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker

from provision_server.web.launcher import end_with_parent
from provision_server.web.patient_server import PatientServer
from provision_server.web.request_body import drained


class AsgiWorker(UvicornWorker):  # type: ignore[misc, unused-ignore]
    """uvicorn under gunicorn's watch: replaced when it ends or hangs."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "proxy_headers": False,
        "server_header": False,
        # A kept connection hands them on to the next request, which is another client's.
        "reset_contextvars": True,
        "timeout_graceful_shutdown": 45,
    }

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = PatientServer(self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


class Server(BaseApplication):  # type: ignore[misc, unused-ignore]
    """gunicorn over two applications loaded before the fork, so that all workers share their memory.

    The first listening socket is Flask's, the second FastAPI's.
    One worker of each generation takes the second.
    """

    def __init__(self, flask: Any, asgi: Any, options: dict[str, Any]) -> None:
        self._flask = drained(flask)
        own = drained(asgi)
        self._asgi = SimpleNamespace(wsgi=lambda: own)
        self._options = options
        self._asgi_worker: AsgiWorker | None = None
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings: the caller's, and which worker does what."""
        for name, value in self._options.items():
            self.cfg.set(name, value)
        self.cfg.set("worker_class", self._worker_class())
        self.cfg.set("post_fork", self._begin_worker)
        self.cfg.set("on_reload", self._begin_generation)
        self.cfg.set("child_exit", self._forget_worker)

    def load(self) -> Any:
        """Return the Flask application; gunicorn asks for it once, before the first fork."""
        # What is there now is never garbage: a collection would only copy the pages that the workers share.
        gc.collect()
        gc.freeze()
        return self._flask

    def _worker_class(self) -> type:
        server = self

        class Worker(AsgiWorker):  # type: ignore[misc, unused-ignore]
            """A worker in whichever role is free."""

            def __new__(cls, age: int, ppid: int, sockets: list[Any], *rest: Any) -> Any:
                # Not an instance of this class:
                # Python then calls no __init__ of ours, and the worker is what it was made as.
                return server._make_worker(age, ppid, sockets, rest)

        return Worker

    def _make_worker(self, age: int, ppid: int, sockets: list[Any], rest: tuple[Any, ...]) -> Any:
        _, *others = rest
        if self._asgi_worker is None:
            self._asgi_worker = AsgiWorker(age, ppid, sockets[1:], self._asgi, *others)
            return self._asgi_worker
        return AsgiWorker(age, ppid, sockets[:1], self, *others)

    def _begin_generation(self, arbiter: Any) -> None:
        self._asgi_worker = None

    def _begin_worker(self, arbiter: Any, worker: Any) -> None:
        # A gunicorn that was killed would leave the event loop running, on sockets that its successor takes.
        end_with_parent("SIGKILL", worker.ppid)
        for listener in arbiter.LISTENERS:
            if listener not in worker.sockets:
                # It would be kept open for who connects to a role that has ended already.
                listener.close()
        own = self._temporary_directory(worker)
        # Without room for it the worker still serves all that needs no room.
        with contextlib.suppress(OSError):
            own.mkdir(mode=0o700, exist_ok=True)
            tempfile.tempdir = os.environ["TMPDIR"] = str(own)

    def _forget_worker(self, arbiter: Any, worker: Any) -> None:
        if worker is self._asgi_worker:
            self._asgi_worker = None
        # A worker that was killed has left there what it had under way.
        shutil.rmtree(self._temporary_directory(worker), ignore_errors=True)

    def _temporary_directory(self, worker: Any) -> Path:
        """Return the worker's own directory; the caller is gunicorn or a worker that has only begun."""
        return Path(tempfile.gettempdir(), f"worker-{worker.pid}")
