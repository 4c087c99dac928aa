"""How often a call waits for the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from provision_server.stores import prepared, tracking
from provision_server.stores.connections import looked_at
from provision_server.stores.prepared import Statements
from provision_server.stores.statements import Bounds
from provision_server.stores.tracking import TrackingStore, short_way
from tests.server.relay import Relay, relayed
from tests.support.checks import eventually
from tests.support.embedded import Postgres, start_postgres

DATABASE = "tracked"


@dataclass(frozen=True)
class Asked:
    """Our store behind a relay, and a run in it."""

    store: Any
    run: str
    relay: Relay
    server: Postgres


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    for server in start_postgres():
        server.query(f"CREATE DATABASE {DATABASE}")
        with relayed(server.port) as relay:
            uri = relay.uri(DATABASE)
            kind: Any = TrackingStore
            store = kind(looked_at(uri), "mlflow-artifacts:/")
            run = store.create_run("0", "ana", 5, [], "first").info.run_id
            store.log_batch(run, [Metric("loss", 0.5, 1, step) for step in range(40)], [Param("p", "1")], [])
            yield Asked(store, run, relay, server)
            SqlAlchemyStore._engine_map.pop(looked_at(uri)).dispose()


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "log_metric": lambda store, run: store.log_metric(run, Metric("loss", 0.5, 2, 50)),
    "log_param": lambda store, run: store.log_param(run, Param("p", "1")),
    "set_tag": lambda store, run: store.set_tag(run, RunTag("t", "1")),
    "log_batch": lambda store, run: store.log_batch(
        run, [Metric(f"m{n}", 1.0, n, n) for n in range(998)], [Param("p", "1")], [RunTag("t", "2")]
    ),
    "create_run": lambda store, run: store.create_run("0", "ana", 5, [RunTag("a", "b")], None),
    "update_run_info": lambda store, run: store.update_run_info(run, RunStatus.FINISHED, 9, "new name"),
    "get_run": lambda store, run: store.get_run(run),
    "search_runs": lambda store, run: store.search_runs(
        ["0"], "metrics.loss > 0 and params.p = '1'", ViewType.ALL, 10, ["metrics.loss DESC", "tags.t"]
    ),
    "newest runs": lambda store, run: store.search_runs(["0"], "", ViewType.ACTIVE_ONLY, 10, []),
    "newest runs on the page": lambda store, run: store.search_runs(
        ["0"], None, ViewType.DELETED_ONLY, 10, ["attributes.start_time DESC"]
    ),
    "get_metric_history": lambda store, run: store.get_metric_history(run, "loss", 10),
    "of no metric": lambda store, run: store.get_metric_history(run, "never logged"),
    "get_metric_history_bulk": lambda store, run: store.get_metric_history_bulk([run], "loss", 10),
    "get_metric_history_bulk_interval": lambda store, run: store.get_metric_history_bulk_interval(
        [run] * 10, "loss", 10, 3, 30
    ),
}

# Each has a statement that PostgreSQL knows by its name.
PLANNED = {
    "log_metric": "log_metric",
    "log_param": "log_param",
    "set_tag": "set_tag",
    "log_batch": "log_batch",
    "create_run": "create_run",
    "update_run_info": "update_run",
    "get_run": "run",
    "newest runs": "newest",
    "newest runs on the page": "newest_dated",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_hot_call_is_one_round_trip(asked: Asked, call: str) -> None:
    # From here on it has one connection.
    asked.store.engine.dispose()
    CALLS[call](asked.store, asked.run)
    with asked.relay.counted() as questions:
        CALLS[call](asked.store, asked.run)
    assert len(questions) == 1, questions
    if call in PLANNED:
        assert questions[0].startswith(f"EXECUTE provision_{PLANNED[call]}_")


def test_a_run_of_which_only_its_own_row_is_wanted_is_read_no_further(asked: Asked) -> None:
    with asked.relay.counted() as questions:
        run = asked.store.get_run(asked.run)
        assert run.info.experiment_id == "0"
        assert [text for text in questions if "provision_get_run" in text] == []
        assert (run.data.params, run.data.metrics["loss"]) == ({"p": "1"}, 0.5)
        assert (run.inputs.dataset_inputs, run.outputs.model_outputs) == ([], [])
    assert len(questions) == 2
    assert dict(run)["info"].run_id == asked.run
    assert run.to_proto().data.params[0].key == "p"


def test_a_run_that_is_gone_when_more_of_it_is_wanted_is_refused_in_mlflows_words(asked: Asked) -> None:
    run = asked.store.create_run("0", "ana", 5, [], None).info.run_id
    found = asked.store.get_run(run)
    asked.store._hard_delete_run(run)
    with pytest.raises(MlflowException, match="not found"):
        _ = found.data


def test_a_statement_is_planned_once_for_each_connection_and_anew_after_many_uses(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "USES", 3)
    asked.store.engine.dispose()
    with asked.relay.counted() as questions:
        for number in range(7):
            asked.store.set_tag(asked.run, RunTag("planned", str(number)))
    sent = [text.split()[0] for text in questions if "provision_set_tag" in text]
    assert sent == ["PREPARE", "EXECUTE", "EXECUTE", "DEALLOCATE", "EXECUTE", "EXECUTE", "DEALLOCATE"]
    assert asked.store.get_run(asked.run).data.tags["planned"] == "6"


# What is refused before it is sent, by PostgreSQL after it has prepared the statement, and before that.
REFUSED = {
    "a character that no text has": (RunTag("a\0b", "1"), "SELECT 1"),
    "a text that is too long": (RunTag("k" * 251, "1"), "SELECT 1"),
    "a table that was locked": (RunTag("k", "1"), "LOCK TABLE tags"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_first_use_that_fails_costs_no_statement_its_plan(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    tag, lock = REFUSED[case]
    monkeypatch.setattr(asked.store, "_statements", Statements())
    monkeypatch.setattr(tracking, "_validate_tag", RunTag)
    asked.store.engine.dispose()
    asked.server.query(f"ALTER DATABASE {DATABASE} SET lock_timeout = '50ms'")
    try:
        with asked.server.connect(DATABASE) as other, other.cursor() as cursor:
            cursor.execute(lock)
            with pytest.raises((MlflowException, SQLAlchemyError, ValueError)):
                short_way(TrackingStore.set_tag)(asked.store, asked.run, tag)
    finally:
        asked.server.query(f"ALTER DATABASE {DATABASE} RESET lock_timeout")
    for value in ("1", "2", "3"):
        with asked.relay.counted() as questions:
            asked.store.set_tag(asked.run, RunTag("after", value))
    assert [text.split()[0] for text in questions] == ["EXECUTE"]


@pytest.mark.parametrize("has_it", [False, True], ids=["a session without it", "a session that has it"])
def test_before_a_pooler_that_gives_another_session_all_is_answered(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, has_it: bool
) -> None:
    monkeypatch.setattr(asked.store, "_statements", Statements())
    asked.store.engine.dispose()
    asked.store.set_tag(asked.run, RunTag("pooled", "0"))
    with asked.store.engine.connect() as connection:
        if has_it:
            connection.info.clear()
        else:
            connection.exec_driver_sql("DEALLOCATE ALL")
    with asked.relay.counted() as questions:
        asked.store.set_tag(asked.run, RunTag("pooled", "1"))
        assert asked.store.get_run(asked.run).data.tags["pooled"] == "1"
        asked.store.set_tag(asked.run, RunTag("pooled", "2"))
    assert questions[-1].split()[0] == "WITH"
    assert asked.store.get_run(asked.run).data.tags["pooled"] == "2"


def test_what_mlflow_answers_is_not_asked_whether_the_connection_lives(asked: Asked) -> None:
    with asked.relay.counted() as questions:
        asked.store.get_experiment("0")
    assert "SELECT 1" not in questions
    assert questions


@pytest.mark.parametrize("call", CALLS)
def test_a_connection_that_the_database_has_closed_is_never_handed_out(asked: Asked, call: str) -> None:
    CALLS[call](asked.store, asked.run)
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'"
    assert asked.server.query(end)
    eventually(lambda: not asked.relay.open, 20, "the end of all connections")
    with asked.relay.counted() as questions:
        CALLS[call](asked.store, asked.run)
    # It connected anew, and then asked once: MLflow's own method had nothing to do.
    assert [text for text in questions if "BEGIN" in text or text == "SELECT 1"] == []


def test_a_run_whose_connection_was_lost_before_the_answer_is_made_once(asked: Asked) -> None:
    def made() -> int:
        return int(asked.server.query("SELECT count(*) FROM runs", database=DATABASE)[0][0])

    before = made()
    asked.relay.loses = "provision_create_run"
    run = asked.store.create_run("0", "ana", 5, [], "once")
    assert asked.relay.loses == ""
    assert made() == before + 1
    assert asked.store.get_run(run.info.run_id).info.run_name == "once"


def test_a_metric_whose_connection_was_lost_before_the_answer_is_there_once(asked: Asked) -> None:
    run = asked.store.create_run("0", "ana", 5, [], None).info.run_id
    asked.relay.loses = "provision_log_metric"
    asked.store.log_metric(run, Metric("lost", 0.5, 1, 1))
    assert asked.relay.loses == ""
    assert len(asked.store.get_metric_history(run, "lost")) == 1


def test_a_call_that_took_too_long_is_not_made_a_second_time(asked: Asked) -> None:
    """MLflow's own method would take as much of the database again."""
    kind: Any = TrackingStore
    impatient = f"{asked.store.db_uri}&options=-c%20statement_timeout%3D300ms"
    store = kind(impatient, "mlflow-artifacts:/")
    event.listen(store.engine, "handle_error", Bounds(1).failed)
    try:
        with asked.store.engine.connect() as connection, asked.relay.counted() as questions:
            connection.exec_driver_sql(f"SELECT FROM runs WHERE run_uuid = '{asked.run}' FOR UPDATE")
            with pytest.raises(MlflowException, match="gave this request up"):
                store.update_run_info(asked.run, RunStatus.FINISHED, 9, "new name")
    finally:
        SqlAlchemyStore._engine_map.pop(impatient).dispose()
    assert len([text for text in questions if "UPDATE runs" in text]) == 1
