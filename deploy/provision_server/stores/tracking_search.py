"""The statements that find the runs of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.store.tracking import sqlalchemy_store as upstream
from mlflow.store.tracking.dbmodels.models import SqlRun
from mlflow.utils.search_utils import SearchUtils

from provision_server.stores import tracking_sql
from provision_server.stores.prepared import Statement
from provision_server.stores.tracking_rows import NotPlain, experiment_number

_NEWEST = {(): tracking_sql.NEWEST, ("attributes.start_time DESC",): tracking_sql.NEWEST_DATED}


def newest_statement(
    experiment_ids: Sequence[str],
    filter_string: str | None,
    run_view_type: int,
    order_by: Sequence[str] | None,
) -> tuple[Statement, dict[str, Any]] | None:
    """Return what finds the newest runs of one experiment, with values but for the page's bounds.

    None for any other search.
    """
    statement = _NEWEST.get(tuple(order_by or ()))
    stages = set(LifecycleStage.view_type_to_stages(run_view_type))
    if filter_string or not statement or len(stages) != 1 or len(experiment_ids) != 1:
        return None
    return statement, {"experiment": experiment_number(experiment_ids[0]), "stage": stages.pop()}


def search_statement(
    engine: Any,
    experiment_ids: Sequence[str],
    filter_string: str | None,
    run_view_type: int,
    order_by: Sequence[str] | None,
    offset: int,
    limit: int | None,
) -> Any:
    """Return what finds a page of runs by MLflow's own statement, and reads what each has.

    Without its DISTINCT, since a run has one value of each key; raise NotPlain where that is not so.
    """
    page = _found(engine, experiment_ids, filter_string, run_view_type, order_by).offset(offset)
    if limit is not None:
        page = page.limit(limit)
    found = page.cte("r")
    columns = [found.c[name] for name in tracking_sql.INFO]
    statement = sqlalchemy.select(*columns, sqlalchemy.literal_column(tracking_sql.DATA_OF_FOUND))
    return statement.select_from(found)


def _found(
    engine: Any,
    experiment_ids: Sequence[str],
    filter_string: str | None,
    run_view_type: int,
    order_by: Sequence[str] | None,
) -> Any:
    stages = sorted(set(LifecycleStage.view_type_to_stages(run_view_type)))
    # MLflow composes with a session that is not asked for a connection.
    session = sqlalchemy.orm.Session(engine)
    parsed = SearchUtils.parse_search_filter(filter_string)
    orders, ordering, outer_joins = upstream._get_orderby_clauses(order_by, session)
    conditions, joins, dataset_joins = upstream._get_sqlalchemy_filter_clauses(
        parsed, session, engine.dialect.name
    )
    if dataset_joins:
        # A run may have several of them.
        raise NotPlain
    columns = SqlRun.__table__.c
    cases, ordering = _ordered(orders, ordering)
    statement = sqlalchemy.select(*(columns[name] for name in tracking_sql.INFO), *cases)
    statement = statement.select_from(SqlRun)
    for join in joins:
        statement = statement.join(join)
    for join in outer_joins:
        statement = statement.outerjoin(join)
    return statement.filter(
        SqlRun.experiment_id.in_(upstream._parse_experiment_ids(experiment_ids)),
        SqlRun.lifecycle_stage.in_(stages),
        *conditions,
    ).order_by(*ordering)


def _ordered(selected: Sequence[Any], ordering: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return MLflow's cases to select and its order, so that an index can serve it.

    MLflow selects for each key a case, which is 1 where the value is missing, and the value, and orders by
    the case's name first. For a column of the runs that is NULLS LAST.
    """
    columns = {
        case.name: getattr(value, "class_", None) is SqlRun
        for case, value in zip(selected[::2], selected[1::2], strict=True)
    }
    kept: list[Any] = []
    is_column = False
    for clause in ordering:
        if isinstance(clause, str):
            is_column = columns[clause]
            if not is_column:
                kept.append(clause)
            continue
        kept.append(clause.nulls_last() if is_column else clause)
        is_column = False
    return [case for case in selected[::2] if not columns[case.name]], kept
