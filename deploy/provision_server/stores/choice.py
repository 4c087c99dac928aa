"""Which tracking store MLflow's server makes: ours where everything is as pinned, else MLflow's own."""

from __future__ import annotations

from functools import partial
from typing import Any

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from provision_server.settings import Settings
from provision_server.stores.connections import kept_alive, looked_at
from provision_server.stores.own_traces import OwnTraces
from provision_server.stores.tracking import TrackingStore


class _WithLogin(OwnTraces, TrackingStore):
    """Ours, which takes no trace away from the experiment that has it."""


def choose_store(settings: Settings, reason: str) -> str:
    """Have MLflow's server make the store for this stack, and say which one; return the URI to make it with.

    `reason` is what is said against ours, "" for nothing.
    """
    from mlflow.server.handlers import _tracking_store_registry

    said = f"MLflow's own, since {reason}" if reason else "the server's own, fast"
    print(f"server: tracking store: {said}", flush=True)
    kind: Any
    if reason:
        kind = OwnTraces if settings.login else SqlAlchemyStore
    else:
        kind = _WithLogin if settings.login else TrackingStore
    registry: Any = _tracking_store_registry
    registry.register("postgresql", partial(_made, kind))
    uri = kept_alive(settings.backend_store)
    return uri if reason else looked_at(uri)


def _made(kind: Any, store_uri: str, artifact_uri: str) -> Any:
    return kind(store_uri, artifact_uri)
