"""What clients ask most, answered before MLflow reads it as protobuf.

It is Flask's last function before the view: host, origin, login and permission have been judged by then, and
what MLflow does to an answer is done to these. A request that is spelled plainly, and that the tracking store
answers at once, is answered as MLflow would, byte for byte. All others go on to MLflow's handler.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Response, g, request
from mlflow.server.handlers import catch_mlflow_exception

from provision_server.stores.tracking import GivenUp, TrackingStore, leave_to_mlflow, take_again
from provision_server.web import hot_reads, hot_writes

Way = Callable[[Any], str]
Readable = Callable[[list[str]], list[str]]


def _ways(readable: Readable) -> dict[tuple[str, str], Way]:
    """Return what answers from the store, by method and route."""
    found: dict[tuple[str, str], Way] = {
        ("POST", "runs/log-metric"): hot_writes.log_metric,
        ("POST", "runs/log-parameter"): hot_writes.log_param,
        ("POST", "runs/set-tag"): hot_writes.set_tag,
        ("POST", "runs/log-batch"): hot_writes.log_batch,
        ("POST", "runs/create"): hot_writes.create_run,
        ("POST", "runs/update"): hot_writes.update_run,
        ("GET", "runs/get"): hot_reads.get_run,
        ("POST", "runs/search"): partial(hot_reads.search_runs, readable=readable),
        ("GET", "metrics/get-history"): hot_reads.metric_history,
        ("GET", "metrics/get-history-bulk-interval"): hot_reads.sampled_history,
    }
    return {
        (method, f"/{api}/2.0/mlflow/{path}"): way
        for api in ("api", "ajax-api")
        for (method, path), way in found.items()
    }


def answer_hot_routes(flask: Any, store: Any, readable: Readable = list) -> None:
    """Have the Flask application answer them where the store is ours; call this after all that judges.

    Of experiments that are searched only those are that `readable` gives back.
    """
    if not isinstance(store, TrackingStore):
        return
    ways = _ways(readable)

    @catch_mlflow_exception  # type: ignore[untyped-decorator, unused-ignore]
    def answer() -> Any:
        way = ways.get((request.method, request.url_rule.rule)) if request.url_rule else None
        if way is None:
            return None
        try:
            return Response(way(store), mimetype="application/json")
        except GivenUp as given_up:
            raise given_up.reason from None
        except Exception:  # whatever it was: MLflow refuses the request in its own words, or answers it
            g.provision_left = leave_to_mlflow()
            return None

    def end(_: Any) -> None:
        if token := g.pop("provision_left", None):
            take_again(token)

    flask.before_request(answer)
    flask.teardown_request(end)
