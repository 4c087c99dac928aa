"""The tracking store: MLflow's own, with one statement in place of many for what clients ask most.

The rule that makes it safe: a short way answers only plain success, in one statement that does all or
nothing. Whatever else it meets - a run that is not there or not active, a param that would change, a value
that the database refuses, a lost connection - it leaves to MLflow's own method, which then does and says what
it always does. So no error, no message and no rare case is ours.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from typing import Any, TypeVar, cast

import sqlalchemy
from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunInputs, RunStatus, RunTag
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, _get_run_name_from_tags
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.search_utils import SearchUtils
from mlflow.utils.validation import (
    _validate_batch_log_limits,
    _validate_param,
    _validate_param_keys_unique,
    _validate_run_id,
    _validate_tag,
)

from provision_server.stores import tracking_sql
from provision_server.stores.connections import at_once
from provision_server.stores.lazy_run import LazyRun
from provision_server.stores.prepared import Statement, Statements
from provision_server.stores.tracking_rows import (
    NotPlain,
    experiment_number,
    found_metric,
    found_run,
    metric_arrays,
    metric_row,
    number,
    param_arrays,
    run_info,
    tag_arrays,
    text,
)
from provision_server.stores.tracking_search import newest_statement, search_statement

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Answer = TypeVar("_Answer")
# Set while the rest of a call is MLflow's: its short way was tried before.
_LEFT: ContextVar[bool] = ContextVar("left to MLflow", default=False)
# A statement's time is limited, and MLflow has one for the history of each run.
_RUNS_AT_ONCE = 10


class GivenUp(Exception):
    """A statement that took too much of the database: in MLflow's words it would again.

    `reason` is what is said to whoever asked.
    """

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _short(way: _Method) -> _Method:
    """Make the method of that name: the short way, and MLflow's own where that raises."""

    @functools.wraps(way)
    def method(store: TrackingStore, *arguments: Any, **named: Any) -> Any:
        own = functools.partial(getattr(super(TrackingStore, store), way.__name__), *arguments, **named)
        return own() if _LEFT.get() else tried(functools.partial(way, store, *arguments, **named), own)

    return cast(_Method, method)


def tried(short: Callable[[], _Answer], own: Callable[[], _Answer]) -> _Answer:
    """Return what the short way answers, or where that raises MLflow's own."""
    try:
        return short()
    except GivenUp as given_up:
        raise given_up.reason from None
    except Exception:  # noqa: S110
        # Whatever it was: MLflow refuses the call in its own words, or answers it.
        pass
    return own()


def short_way(method: _Method) -> _Method:
    """Return the short way alone of a method of the store.

    After GivenUp the call is over. After any other exception nothing was done, or what MLflow's own method
    does once more to the same end.
    """
    return cast(_Method, method.__wrapped__)  # type: ignore[attr-defined]


def leave_to_mlflow() -> Token[bool]:
    """Leave all to MLflow's own methods from here on in this context; `take_again` ends it."""
    return _LEFT.set(True)


def take_again(token: Token[bool]) -> None:
    """End what `leave_to_mlflow` began."""
    _LEFT.reset(token)


class TrackingStore(SqlAlchemyStore):  # type: ignore[misc, unused-ignore]
    """MLflow's store for one PostgreSQL without workspaces; used where `pinned.reason_against` has none.

    Its methods' docstrings are MLflow's. Those methods that give rows have short ways alone.
    """

    def __init__(self, db_uri: str, default_artifact_root: str) -> None:
        super().__init__(db_uri, default_artifact_root)
        self._statements = Statements()

    def _rows(self, statement: str, **values: Any) -> Sequence[Any]:
        """Return the statement's rows."""
        return self._found(lambda connection: connection.exec_driver_sql(statement, values))

    def _planned(self, statement: Statement, **values: Any) -> Sequence[Any]:
        """Return the statement's rows; PostgreSQL plans it once."""
        return self._found(lambda connection: self._statements.ask(connection, statement, values))

    def _row(self, statement: Statement, **values: Any) -> Any:
        """Return the statement's one row; raise NotPlain where there is none."""
        rows = self._planned(statement, **values)
        if not rows:
            raise NotPlain
        return rows[0]

    def _found(self, ask: Callable[[Any], Any]) -> Sequence[Any]:
        try:
            with at_once(self.engine) as connection:
                return cast(Sequence[Any], ask(connection).fetchall())
        except MlflowException as refused:
            if isinstance(refused.__cause__, ValueError):
                # The driver cannot spell a value, for which `statements.py` has words.
                raise NotPlain from refused
            raise GivenUp(refused) from refused

    @_short
    def log_metric(self, run_id: str, metric: Metric) -> None:
        key, value, timestamp, step, is_nan = metric_row(metric)
        self._row(
            tracking_sql.LOG_METRIC,
            run=text(run_id),
            key=key,
            value=value,
            timestamp=timestamp,
            step=step,
            is_nan=is_nan,
        )

    @_short
    def log_param(self, run_id: str, param: Param) -> None:
        judged = _validate_param(param.key, param.value)
        self._row(tracking_sql.LOG_PARAM, run=text(run_id), key=text(judged.key), value=text(judged.value))

    @_short
    def set_tag(self, run_id: str, tag: RunTag) -> None:
        judged = _validate_tag(tag.key, tag.value)
        if judged.key == MLFLOW_RUN_NAME:
            # It renames the run, too.
            raise NotPlain
        self._row(tracking_sql.SET_TAG, run=text(run_id), key=text(judged.key), value=text(judged.value))

    @_short
    def log_batch(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        _validate_run_id(run_id)
        rows = [metric_row(metric) for metric in metrics]
        params = [_validate_param(param.key, param.value) for param in params]
        tags = [_validate_tag(tag.key, tag.value) for tag in tags]
        _validate_batch_log_limits(metrics, params, tags)
        _validate_param_keys_unique(params)
        if any(tag.key == MLFLOW_RUN_NAME for tag in tags):
            raise NotPlain
        statement = tracking_sql.log_batch(metrics=bool(rows), params=bool(params), tags=bool(tags))
        values = metric_arrays(rows) | param_arrays(params) | tag_arrays(tags)
        self._row(statement, run=text(run_id), **values)

    @_short
    def create_run(self, *arguments: Any, **named: Any) -> Run:
        columns, tags = self.new_run(*arguments, **named)
        return Run(run_info(columns), RunData(tags=tags), RunInputs(dataset_inputs=[]))

    def new_run(
        self, experiment_id: str, user_id: str, start_time: int, tags: Sequence[RunTag], run_name: str | None
    ) -> tuple[Sequence[Any], list[RunTag]]:
        """Make a run; return its columns, as `tracking_sql.INFO`, and its tags; raise as `short_way`."""
        tags = list(tags or ())
        tagged = _get_run_name_from_tags(tags)
        if tagged and run_name and run_name != tagged:
            raise NotPlain
        name = run_name or tagged or _generate_random_name()
        if not tagged:
            tags.append(RunTag(MLFLOW_RUN_NAME, name))
        if len({tag.key for tag in tags}) < len(tags):
            raise NotPlain
        run_id = uuid.uuid4().hex
        values = {
            "experiment": experiment_number(experiment_id),
            "name": text(name),
            "user": text(user_id),
            "start": number(start_time),
            **tag_arrays(tags),
        }
        try:
            (artifact_uri,) = self._row(tracking_sql.CREATE_RUN, run=run_id, **values)
        except sqlalchemy.exc.DBAPIError as lost:
            if not lost.connection_invalidated:
                raise
            # It may have been made just before the end: made once more it would be another run.
            (artifact_uri,) = self._row(tracking_sql.ARTIFACTS_OF_RUN, run=run_id)
        columns = (run_id, name, experiment_id, user_id, "RUNNING", start_time, None, "active", artifact_uri)
        return columns, tags

    @_short
    def update_run_info(self, *arguments: Any, **named: Any) -> RunInfo:
        return _named_info(self.updated_row(*arguments, **named))

    def updated_row(
        self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None
    ) -> Sequence[Any]:
        """Change the run; return its columns, as `tracking_sql.INFO`; raise as `short_way`."""
        row = self._row(
            tracking_sql.UPDATE_RUN,
            run=text(run_id),
            status=None if run_status is None else RunStatus.to_string(run_status),
            end=None if end_time is None else number(end_time),
            name=None if run_name is None else text(run_name) or None,
        )
        return cast(Sequence[Any], row)

    @_short
    def get_run(self, run_id: str) -> Run:
        info = _named_info(self._row(tracking_sql.RUN, run=text(run_id)))
        own = functools.partial(super().get_run, run_id)
        return LazyRun(info, lambda: tried(lambda: found_run(self.run_row(run_id)), own))

    def run_row(self, run_id: str) -> Sequence[Any]:
        """Return the row of `tracking_sql.GET_RUN`; raise NotPlain where there is none."""
        return cast(Sequence[Any], self._row(tracking_sql.GET_RUN, run=text(run_id)))

    @_short
    def _search_runs(self, *arguments: Any, **named: Any) -> tuple[list[Run], Any]:
        rows, token = self.search_rows(*arguments, **named)
        return [found_run(row) for row in rows], token

    def search_rows(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None,
        run_view_type: int,
        max_results: int | None,
        order_by: Sequence[str] | None,
        page_token: str | None,
    ) -> tuple[Sequence[Any], Any]:
        """Return the rows of a page, as `tracking_rows.found_run` takes them, and the token of the next page.

        Raise whatever is in the way of the short way.
        """
        most: Any = max_results
        self._validate_max_results_param(most, allow_null=True)
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        limit = None if max_results is None else max_results + 1
        asked = experiment_ids, filter_string, run_view_type, order_by
        if newest := newest_statement(*asked):
            statement, values = newest
            rows = self._planned(statement, **values, offset=offset, limit=limit)
        else:
            found = search_statement(self.engine, *asked, offset, limit)
            rows = self._found(lambda connection: connection.execute(found))
        return _page(rows, offset, max_results)

    @_short
    def get_metric_history(self, *arguments: Any, **named: Any) -> Any:
        rows, token = self.history_rows(*arguments, **named)
        return PagedList([found_metric(row) for row in rows], token)

    def history_rows(
        self, run_id: str, metric_key: str, max_results: int | None = None, page_token: str | None = None
    ) -> tuple[Sequence[Any], Any]:
        """Return the metrics' rows of a page and the token of the next one; raise as `search_rows`."""
        offset = SearchUtils.parse_start_offset_from_page_token(page_token)
        limit = None if max_results is None else number(max_results) + 1
        rows = self._rows(
            tracking_sql.HISTORY, run=text(run_id), key=text(metric_key), offset=offset, limit=limit
        )
        return _page(rows, offset, max_results)

    @_short
    def get_metric_history_bulk(
        self, run_ids: Iterable[str], metric_key: str, max_results: int | None
    ) -> list[MetricWithRunId]:
        rows = self._rows(
            tracking_sql.HISTORY_BULK,
            runs=[text(run_id) for run_id in run_ids],
            key=text(metric_key),
            limit=None if max_results is None else number(max_results),
        )
        return _with_run_ids(rows)

    @_short
    def get_metric_history_bulk_interval(self, *arguments: Any, **named: Any) -> list[MetricWithRunId]:
        return _with_run_ids(self.sampled_rows(*arguments, **named))

    def sampled_rows(
        self,
        run_ids: Iterable[str],
        metric_key: str,
        max_results: int,
        start_step: int | None,
        end_step: int | None,
    ) -> Sequence[Any]:
        """Return metrics' rows with their runs' ids at the end; raise as `search_rows`."""
        if (start_step is None) != (end_step is None):
            raise NotPlain
        runs = [text(run_id) for run_id in run_ids]
        values = {
            "key": text(metric_key),
            "most": max(1, number(max_results)),
            "start": None if start_step is None else number(start_step),
            "end": None if end_step is None else number(end_step),
        }
        parts = (runs[at : at + _RUNS_AT_ONCE] for at in range(0, len(runs), _RUNS_AT_ONCE))
        return [
            row for part in parts for row in self._rows(tracking_sql.HISTORY_SAMPLED, runs=part, **values)
        ]


def _named_info(row: Sequence[Any]) -> RunInfo:
    """Return what stands in a run's own row; raise NotPlain where MLflow looks for its name in the tags."""
    info = run_info(row)
    if not info.run_name:
        raise NotPlain
    return info


def _page(rows: Sequence[Any], offset: int, most: int | None) -> tuple[Sequence[Any], Any]:
    """Return the rows of a page, and the token of the next one; where there is one, it has a row too many."""
    if most is None or len(rows) <= most:
        return rows, None
    return rows[:most], SearchUtils.create_page_token(offset + most)


def _with_run_ids(rows: Iterable[Sequence[Any]]) -> list[MetricWithRunId]:
    return [MetricWithRunId(run_id=run_id, metric=found_metric(point)) for *point, run_id in rows]
