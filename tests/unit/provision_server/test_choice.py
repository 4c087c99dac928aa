"""Which tracking store is made, and what each of them refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.server import handlers

from provision_server.stores.choice import choose_store
from provision_server.stores.own_traces import OwnTraces
from provision_server.stores.statements import MOST_CONDITIONS
from provision_server.stores.tracking import TrackingStore


@pytest.mark.parametrize("reason", ["", "server.fast is false"])
@pytest.mark.parametrize("login", [False, True])
def test_every_store_refuses_a_search_that_cannot_be_composed(
    monkeypatch: pytest.MonkeyPatch, reason: str, login: bool
) -> None:
    registry: Any = handlers._tracking_store_registry
    made: list[Any] = []
    monkeypatch.setattr(registry, "register", lambda _scheme, builder: made.append(builder.args[0]))
    settings: Any = SimpleNamespace(login=login, backend_store="postgresql+psycopg2://a@b/c")
    choose_store(settings, reason)
    (kind,) = made
    assert issubclass(kind, TrackingStore) == (not reason)
    assert issubclass(kind, OwnTraces) == login
    # No database is there to be asked.
    store = object.__new__(kind)
    with pytest.raises(MlflowException, match=f"more than {MOST_CONDITIONS} conditions"):
        store.search_runs(["0"], "", 1, order_by=[f"metrics.m{n}" for n in range(MOST_CONDITIONS + 1)])
