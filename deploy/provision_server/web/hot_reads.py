"""The plain spelling of what clients and MLflow's page read most; answers are in MLflow's words."""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from mlflow.entities import ViewType
from mlflow.server.handlers import MAX_RESULTS_PER_RUN, MAX_RUNS_GET_METRIC_HISTORY_BULK

from provision_server.stores.statements import MOST_RESULTS
from provision_server.stores.tracking_rows import NotPlain, text
from provision_server.web.plain_json import json_list, json_object, metrics_json, run_json
from provision_server.web.plain_request import RUN, body_of, query_of, run_of_query, single, texts, whole

_SEARCH = frozenset({"experiment_ids", "filter", "max_results", "order_by", "page_token", "run_view_type"})
_VIEWS = {
    "ACTIVE_ONLY": ViewType.ACTIVE_ONLY,
    "DELETED_ONLY": ViewType.DELETED_ONLY,
    "ALL": ViewType.ALL,
}


def get_run(store: Any) -> str:
    """Answer runs/get."""
    run_id = run_of_query(query_of(RUN))
    return json_object([("run", run_json(store.run_row(run_id), "  "))])


def search_runs(store: Any, readable: Callable[[list[str]], list[str]]) -> str:
    """Answer runs/search, of those experiments that are readable for whoever asks."""
    body = body_of(_SEARCH)
    experiment_ids, most = texts(body, "experiment_ids"), body.get("max_results", 1000)
    view = _VIEWS[body.get("run_view_type", "ACTIVE_ONLY")]
    if type(most) is not int or not 0 < most <= MOST_RESULTS:
        raise NotPlain
    filter_string, page_token = text(body.get("filter", "")), text(body.get("page_token", ""))
    order_by = texts(body, "order_by")
    rows, token = store.search_rows(
        readable(experiment_ids), filter_string, view, most, order_by, page_token or None
    )
    runs = [run_json(row, "    ") for row in rows]
    return json_object([*([("runs", json_list(runs, "  "))] if runs else []), *_next_page(token)])


def metric_history(store: Any) -> str:
    """Answer metrics/get-history."""
    query = query_of(RUN | {"metric_key", "max_results", "page_token"})
    most = whole(query, "max_results")
    if most == 0:
        raise NotPlain
    page_token = single(query, "page_token") if "page_token" in query else None
    rows, token = store.history_rows(run_of_query(query), single(query, "metric_key"), most, page_token)
    return json_object([*_metrics(rows), *_next_page(token)])


def sampled_history(store: Any) -> str:
    """Answer metrics/get-history-bulk-interval, by which the page draws charts."""
    query = query_of(frozenset({"run_ids", "metric_key", "max_results", "start_step", "end_step"}))
    most, run_ids = whole(query, "max_results"), query["run_ids"]
    most = MAX_RESULTS_PER_RUN if most is None else most
    start, end = whole(query, "start_step"), whole(query, "end_step")
    if not 1 <= most <= MAX_RESULTS_PER_RUN or len(run_ids) > MAX_RUNS_GET_METRIC_HISTORY_BULK:
        raise NotPlain
    if start is not None and end is not None and start > end:
        raise NotPlain
    rows = store.sampled_rows(run_ids, single(query, "metric_key"), most, start, end)
    return json_object(_metrics(rows))


def _metrics(rows: Any) -> list[tuple[str, str]]:
    return [("metrics", metrics_json(rows, "  "))] if rows else []


def _next_page(token: bytes | None) -> list[tuple[str, str]]:
    return [("next_page_token", quoted(token.decode()))] if token else []
