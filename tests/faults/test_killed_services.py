"""kill -9 of a service, or of what keeps services alive."""

from __future__ import annotations

import pytest

from tests.support.checks import (
    Tracking,
    each_once,
    eventually,
    has_ended,
    healthy,
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
