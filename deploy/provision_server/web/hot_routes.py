"""What clients write most, answered before MLflow reads it as protobuf.

It is Flask's last function before the view: host, origin, login and permission have been judged by then, and
what MLflow does to an answer is done to these. A request that is spelled plainly, and that the tracking store
takes at once, is answered in MLflow's words for success. All others go on to MLflow's handler.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flask import Response, request
from mlflow.entities import Metric, Param, RunTag
from mlflow.server.handlers import catch_mlflow_exception

from provision_server.stores.tracking import GivenUp, TrackingStore, short_way
from provision_server.stores.tracking_rows import NotPlain, text

Body = dict[str, Any]
_METRIC = frozenset({"key", "value", "timestamp", "step"})
_PAIR = frozenset({"key", "value"})
# MLflow's client names the run by both.
_RUN = frozenset({"run_id", "run_uuid"})
# As protobuf's JSON spells what JSON has no number for.
_NO_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def answer_hot_routes(flask: Any, store: Any) -> None:
    """Have the Flask application answer them where the store is ours; call this after all that judges."""
    if not isinstance(store, TrackingStore):
        return
    ways: dict[tuple[str, str], Callable[[Any, Body], None]] = {
        ("POST", f"/{api}/2.0/mlflow/runs/{name}"): way
        for api in ("api", "ajax-api")
        for name, way in _WAYS.items()
    }

    @catch_mlflow_exception  # type: ignore[untyped-decorator, unused-ignore]
    def answer() -> Any:
        way = ways.get((request.method, request.path))
        if way is None or request.mimetype != "application/json":
            return None
        try:
            way(store, _plain(request.get_json(silent=True)))
        except GivenUp as given_up:
            raise given_up.reason from None
        except Exception:  # whatever it was: MLflow refuses the request in its own words, or answers it
            return None
        return Response("{}", mimetype="application/json")

    flask.before_request(answer)


def _plain(found: Any, keys: frozenset[str] | None = None) -> Body:
    """Return a JSON object; raise NotPlain for anything else, and for one with other keys than these."""
    if type(found) is not dict or not (keys is None or found.keys() <= keys):
        raise NotPlain
    return found


def _run(body: Body) -> str:
    run_id = body["run_id"]
    if body.get("run_uuid", run_id) != run_id:
        raise NotPlain
    return _filled(run_id)


def _filled(value: object) -> str:
    if not value:
        raise NotPlain
    return text(value)


def _metric(found: Body) -> Metric:
    value = found["value"]
    if type(value) is str:
        value = _NO_NUMBERS[value]
    elif type(value) not in {int, float} or not math.isfinite(value):
        raise NotPlain
    return Metric(_filled(found["key"]), float(value), found["timestamp"], found.get("step", 0))


def _pair(kind: Any, found: Any, keys: frozenset[str] = _PAIR) -> Any:
    _plain(found, keys)
    return kind(_filled(found["key"]), found["value"])


def _log_metric(store: Any, body: Body) -> None:
    short_way(TrackingStore.log_metric)(store, _run(body), _metric(_plain(body, _METRIC | _RUN)))


def _log_param(store: Any, body: Body) -> None:
    short_way(TrackingStore.log_param)(store, _run(body), _pair(Param, body, _PAIR | _RUN))


def _set_tag(store: Any, body: Body) -> None:
    short_way(TrackingStore.set_tag)(store, _run(body), _pair(RunTag, body, _PAIR | _RUN))


def _log_batch(store: Any, body: Body) -> None:
    _plain(body, frozenset({"run_id", "metrics", "params", "tags"}))
    metrics = [_metric(_plain(found, _METRIC)) for found in _listed(body, "metrics")]
    params = [_pair(Param, found) for found in _listed(body, "params")]
    tags = [_pair(RunTag, found) for found in _listed(body, "tags")]
    short_way(TrackingStore.log_batch)(store, _run(body), metrics, params, tags)


def _listed(body: Body, name: str) -> list[Any]:
    found = body.get(name, [])
    if type(found) is not list:
        raise NotPlain
    return found


_WAYS = {
    "log-metric": _log_metric,
    "log-parameter": _log_param,
    "set-tag": _set_tag,
    "log-batch": _log_batch,
}
