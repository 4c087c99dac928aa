"""Which tracking store MLflow's server makes: ours where everything is as pinned, else MLflow's own."""

from __future__ import annotations

from functools import partial
from typing import Any

from mlflow.store.tracking import SEARCH_MAX_RESULTS_DEFAULT
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from provision_server.settings import Settings
from provision_server.stores.connections import kept_alive, looked_at
from provision_server.stores.own_traces import OwnTraces
from provision_server.stores.statements import check_conditions
from provision_server.stores.tracking import TrackingStore


class _Bounded(SqlAlchemyStore):  # type: ignore[misc, unused-ignore]
    """A store whose searches, whoever asks for them, have no more conditions than can be composed."""

    def search_runs(
        self,
        experiment_ids: Any,
        filter_string: Any,
        run_view_type: Any,
        max_results: Any = SEARCH_MAX_RESULTS_DEFAULT,
        order_by: Any = None,
        page_token: Any = None,
    ) -> Any:
        """Search as MLflow's store does."""
        check_conditions(filter_string, order_by)
        return super().search_runs(
            experiment_ids, filter_string, run_view_type, max_results, order_by, page_token
        )


class _WithLogin(_Bounded, OwnTraces):
    """MLflow's, which takes no trace away from the experiment that has it."""


class _Fast(_Bounded, TrackingStore):
    """Ours."""


class _FastWithLogin(_WithLogin, TrackingStore):
    """Ours, with what a login needs."""


def choose_store(settings: Settings, reason: str) -> str:
    """Have MLflow's server make the store for this stack, and say which one; return the URI to make it with.

    `reason` is what is said against ours, "" for nothing.
    """
    from mlflow.server.handlers import _tracking_store_registry

    said = f"MLflow's own, since {reason}" if reason else "the server's own, fast"
    print(f"server: tracking store: {said}", flush=True)
    plain, with_login = (_Bounded, _WithLogin) if reason else (_Fast, _FastWithLogin)
    kind = with_login if settings.login else plain
    registry: Any = _tracking_store_registry
    registry.register("postgresql", partial(_made, kind))
    uri = kept_alive(settings.backend_store)
    return uri if reason else looked_at(uri)


def _made(kind: Any, store_uri: str, artifact_uri: str) -> Any:
    return kind(store_uri, artifact_uri)
