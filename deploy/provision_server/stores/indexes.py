"""Indexes of our own in the tracking database, for what clients ask and MLflow's tables have none for.

They are made beside the work of others (`CONCURRENTLY`) and can be dropped at any time: no answer depends on
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from provision_server.stores.postgres import query

_BY_TIME = "ON runs (experiment_id, lifecycle_stage, start_time DESC NULLS {nulls}, run_uuid)"
# The newest runs of an experiment, by the orders of MLflow's page and of its client.
INDEXES = {
    "provision_runs_by_time": _BY_TIME.format(nulls="LAST"),
    "provision_runs_by_time_nulls_first": _BY_TIME.format(nulls="FIRST"),
}


def make_indexes(connection: Any, say: Callable[[str, str], None]) -> None:
    """Make those that are not there, and anew those that were left half made."""
    for name, definition in INDEXES.items():
        found = query(
            connection, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,)
        )
        if found == [(True,)]:
            say("unchanged", f"index {name}")
            continue
        if found:
            query(connection, f"DROP INDEX CONCURRENTLY {name}")
        query(connection, f"CREATE INDEX CONCURRENTLY {name} {definition}")
        say("created", f"index {name}")
