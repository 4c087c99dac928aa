"""A statement's forms: whole, prepared, and used again."""

from __future__ import annotations

from provision_server.stores import tracking_sql
from provision_server.stores.prepared import Statement


def test_each_parameter_has_one_number_and_keeps_its_cast() -> None:
    statement = Statement("ask", "SELECT %(run)s, %(value)s::float8, %(runs)s::varchar[] WHERE a = %(run)s")
    assert statement.execute == f"EXECUTE {statement.name} (%(run)s, %(value)s::float8, %(runs)s::varchar[])"
    prepared = f"PREPARE {statement.name} AS SELECT $1, $2::float8, $3::varchar[] WHERE a = $1"
    assert statement.first == f"{prepared}; {statement.execute}"
    assert statement.renewed == f"DEALLOCATE {statement.name}; {statement.first}"


def test_statements_that_differ_have_names_that_do_and_that_postgresql_does_not_cut() -> None:
    batches = [
        tracking_sql.log_batch(metrics=metrics, params=params, tags=tags)
        for metrics in (False, True)
        for params in (False, True)
        for tags in (False, True)
    ]
    names = {statement.name for statement in batches}
    assert len(names) == len(batches)
    assert all(name.startswith("provision_log_batch_") and len(name) < 64 for name in names)
