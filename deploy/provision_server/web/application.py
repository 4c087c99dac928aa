"""MLflow's two applications: Flask's with nearly every route, FastAPI's around it, with routes of its own.

Importing this module imports MLflow, which takes seconds and reads the environment.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app as fastapi_app
from mlflow.server.handlers import _get_tracking_store, initialize_backend_stores

from provision_server.auth.login_guard import LoginGuard
from provision_server.auth.middleware import heed_changes, refuse_strangers, tell_proxy
from provision_server.auth.permissions import ask_for_all_permissions
from provision_server.settings import Fault, Settings
from provision_server.stores import postgres
from provision_server.stores.artifacts import artifact_store
from provision_server.stores.choice import choose_store
from provision_server.stores.locations import Root, refuse_locations_outside
from provision_server.stores.statements import bounded_pages, bounded_statements
from provision_server.web.artifact_paths import refuse_wide_paths
from provision_server.web.body_limits import bounded
from provision_server.web.failures import explain_failures
from provision_server.web.hot_routes import answer_hot_routes
from provision_server.web.malformed import refuse_malformed
from provision_server.web.page import serve_files
from provision_server.web.parameters import refuse_two_readings
from provision_server.web.sizing import cores_here
from provision_server.web.threads import Threaded


def applications(settings: Settings, threads: int, reason: str) -> tuple[Any, Any]:
    """Return Flask's and FastAPI's application, both as ASGI applications ready to be forked.

    In each process so many threads do Flask's work. `reason` is against our tracking store, "" for none.
    """
    artifact_store(settings).register()
    refuse_locations_outside(Root(settings.artifacts, settings.login))
    # Half of the cores stay for those who are known, and who ask for little.
    half = max(1, int(cores_here() / 2))
    bounded_statements(half)
    uri = choose_store(settings, reason)
    initialize_backend_stores(uri, uri, "mlflow-artifacts:/")
    asgi = fastapi_app
    refuse_malformed(flask_app, login=settings.login)
    if settings.login:
        from mlflow.server.auth import create_app

        from provision_server.stores.users import use_user_store

        use_user_store(fast=not reason)
        # It adds login to Flask's application, and answers another FastAPI around it.
        asgi = create_app(flask_app)
    explain_failures(flask_app, asgi)
    bounded_pages(flask_app)
    both = guarded(flask_app, asgi, threads, LoginGuard(half) if settings.login else None)
    answer_hot_routes(flask_app, _get_tracking_store(), _readable if settings.login else list)
    _close_connections()
    return both


def _readable(experiment_ids: list[str]) -> list[str]:
    """Return those that whoever asks may read, as MLflow's own handler of a search does."""
    from mlflow.server.auth import filter_experiment_ids

    return list(filter_experiment_ids(experiment_ids))


def guarded(flask_app: Any, asgi: Any, threads: int, guard: LoginGuard | None) -> tuple[Any, Any]:
    """Return both applications with nothing of theirs unguarded.

    The FastAPI application has Flask's for every path that is not its own.
    """
    flask = Threaded(flask_app, threads)
    # Flask reads a login in its own way, within the other application too.
    inner = _strict(flask, guard, gateway=False)
    serve_files(asgi, str(flask_app.static_folder), inner)
    if guard:
        heed_changes(flask_app, guard)
        refuse_two_readings(flask_app)
        asgi = ask_for_all_permissions(flask_app, asgi)
        asgi = tell_proxy(flask_app, asgi)
    asgi = refuse_wide_paths(flask_app, asgi, login=bool(guard))
    return _strict(bounded(flask), guard, gateway=False), _strict(bounded(asgi), guard, gateway=True)


def _strict(application: Any, guard: LoginGuard | None, *, gateway: bool) -> Any:
    return refuse_strangers(application, guard, gateway=gateway) if guard else application


def _close_connections() -> None:
    """Close every connection to a database before the fork, or two processes would talk over one."""
    from sqlalchemy import Engine

    for engine in [found for found in gc.get_objects() if isinstance(found, Engine)]:
        engine.dispose()


def wait_for_bootstrap(settings: Settings) -> None:
    """Wait until the role can log in, experiment 0 is there, and with a login the admin.

    Raise Fault at the deadline.
    """
    end = time.monotonic() + settings.deadline
    password = settings.secret("backend_store_password")
    questions = [(settings.backend_store, "experiments", "SELECT 1 FROM experiments WHERE experiment_id = 0")]
    if settings.login:
        questions.append((settings.auth_store, "users", "SELECT 1 FROM users LIMIT 1"))
    for uri, table, question in questions:
        while not _answered(uri, password, table, question, end - time.monotonic()):
            if time.monotonic() > end:
                raise Fault(f"bootstrap was not done within {settings.deadline:.0f} s; see its log")
            time.sleep(0.05)


def _answered(uri: str, password: str, table: str, question: str, left: float) -> bool:
    """Return whether the table is there, and its question has a row.

    Wait through refusals until bootstrap has made the role and the database.
    """
    import psycopg2

    unready = ("password authentication failed", "does not exist")
    connection = postgres.connect(
        uri, password, max(left, 1), lambda seen: any(text in seen for text in unready)
    )
    try:
        # A question to a table that is not there would be an error in PostgreSQL's log,
        # twenty times a second.
        is_there = postgres.query(connection, "SELECT to_regclass(%s) IS NOT NULL", (table,))[0][0]
        return bool(is_there and postgres.query(connection, question))
    except psycopg2.Error:
        return False
    finally:
        connection.close()
