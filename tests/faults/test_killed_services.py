"""kill -9 of a service, or of what keeps services alive."""

from __future__ import annotations

import contextlib
import threading
import urllib.error
from collections import Counter

import pytest

from tests.support.checks import (
    Tracking,
    each_once,
    eventually,
    has_ended,
    healthy,
    meanwhile,
    processes_in,
    run_logged,
    running,
    service_not_restarted,
)
from tests.support.installed import Program


@pytest.mark.parametrize(
    "victim", ["postgres", pytest.param("minio", marks=pytest.mark.only("docker")), "mlflow", "proxy"]
)
def test_a_killed_service_comes_back_by_itself_with_everything_acknowledged(
    program: Program, victim: str
) -> None:
    processes = running(program)
    uri = program("status").data["tracking_uri"]
    run = run_logged(uri)
    others = [name for name in processes if name != victim]
    with service_not_restarted(program, *others):
        # Right after the acknowledgement, when nothing but the promise keeps it.
        run.log_metrics(20)
        run.log_file()
        processes[victim].kill()
        eventually(lambda: has_ended(processes[victim]), 10, "the end")
        healthy(program)
    assert running(program)[victim].pid != processes[victim].pid
    run.all_there()
    # No connection that the kill broke is handed to a client later.
    run.log_metrics(20)
    run.all_there()


def test_while_the_database_starts_anew_calls_are_answered_503_and_all_are_good_after(
    program: Program,
) -> None:
    uri = program("status").data["tracking_uri"]
    seen: Counter[int] = Counter()

    def ask_on(done: threading.Event) -> None:
        run, number = run_logged(uri).run, 0
        calls = [
            lambda: ("/runs/log-metric", {"run_id": run, "key": "a", "value": 1, "timestamp": number}),
            lambda: ("/runs/search", {"experiment_ids": ["0"], "max_results": 5}),
            lambda: (f"/runs/get?run_id={run}", None),
            lambda: ("/runs/set-tag", {"run_id": run, "key": "mlflow.runName", "value": str(number)}),
            lambda: ("/runs/create", {"experiment_id": "0", "start_time": number}),
        ]
        while not done.is_set():
            number += 1
            seen[status_of(uri, *calls[number % len(calls)]())] += 1

    with contextlib.ExitStack() as clients:
        for _ in range(4):
            clients.enter_context(meanwhile(ask_on))
        eventually(lambda: seen[200] > 50, 30, "good answers")
        running(program)["postgres"].kill()
        eventually(lambda: seen[503], 30, "an answer that says to come again")
        healthy(program)
        before = seen.copy()
        eventually(lambda: seen[200] > before[200] + 100, 30, "good answers after")
        # No connection of before is handed out any more.
        assert seen - before == Counter({200: (seen - before)[200]})
    assert {*seen} == {200, 503}


def status_of(uri: str, path: str, body: object) -> int:
    try:
        Tracking(uri).call(path, body)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_all_services_killed_at_once_come_back_with_everything_acknowledged(program: Program) -> None:
    processes = running(program)
    run = run_logged(program("status").data["tracking_uri"])
    for process in processes.values():
        process.kill()
    eventually(run.tracking.answers, 90, "the server answers")
    run.all_there()
    healthy(program)


@pytest.mark.only("embedded")
def test_after_supervisord_was_killed_up_starts_each_service_once(program: Program) -> None:
    run = run_logged(program("status").data["tracking_uri"])
    supervisor = running(program)["proxy"].parent()
    assert supervisor is not None
    before = processes_in(program.stack)
    supervisor.kill()
    answer = program.up("--no-link")
    assert ("started", "mlflow") in answer.verbs
    assert [process for process in before if process.is_running()] == []
    each_once(program.stack)
    run.all_there()
    assert Tracking(run.tracking.uri).answers()
