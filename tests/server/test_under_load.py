"""A restart, a killed and a hung worker, under load.

Clients that retry as MLflow's does see no failed call, and nothing acknowledged is lost.
"""

from __future__ import annotations

import signal
import time

import pytest

from tests.server.deployed import Deployed
from tests.server.load import logging_batches, logging_metrics, moving_artifacts
from tests.server.roles import replaced

# gunicorn's for a worker's heartbeat, and what it then takes to kill and replace.
HUNG_DEADLINE = 120.0
# A thread that waits for a connection that never comes free gives up after so many seconds.
POOL_TIMEOUT = 30.0


def test_batches_from_many_clients_never_wait_for_each_others_connections(deployed: Deployed) -> None:
    with logging_batches(deployed, 24) as load:
        load.goes_on(5)
    assert load.longest < POOL_TIMEOUT


def test_a_reload_fails_no_call(deployed: Deployed) -> None:
    before = deployed.processes()
    with logging_metrics(deployed) as load, moving_artifacts(deployed) as files:
        for _ in range(2):
            deployed.signal(before.master, signal.SIGHUP)
            after = replaced(deployed, before, before.workers)
            load.goes_on()
            files.goes_on(2)
            before = after
    print(
        f"\n{deployed.runtime}: {sum(load.acknowledged)} metrics, {sum(files.acknowledged)} files, "
        f"longest call {load.longest:.1f} s"
    )


def test_a_restart_fails_no_call(deployed: Deployed) -> None:
    with logging_metrics(deployed) as load, moving_artifacts(deployed) as files:
        started = time.monotonic()
        deployed.restart()
        took = time.monotonic() - started
        load.goes_on()
        files.goes_on(2)
    deployed.ready()
    print(
        f"\n{deployed.runtime}: restarted in {took:.1f} s; {sum(load.acknowledged)} metrics, "
        f"{sum(files.acknowledged)} files, longest call {load.longest:.1f} s"
    )


def test_a_killed_flask_worker_is_replaced_and_fails_no_call(deployed: Deployed) -> None:
    before = deployed.processes()
    with logging_metrics(deployed) as load:
        for pid in before.flask:
            deployed.signal(pid, signal.SIGKILL)
            load.goes_on(3)
        after = replaced(deployed, before, before.flask)
        load.goes_on()
    assert after.asgi == before.asgi


def test_a_killed_asgi_worker_is_replaced_in_its_role(deployed: Deployed) -> None:
    before = deployed.processes()
    with logging_metrics(deployed) as load, moving_artifacts(deployed, killed=True) as files:
        deployed.signal(before.asgi[0], signal.SIGKILL)
        after = replaced(deployed, before, before.asgi)
        load.goes_on()
        files.goes_on(3)
    assert after.flask == before.flask
    info = deployed.front("GET", "/api/3.0/mlflow/server-info")
    assert info.status == 200
    assert info.document["store_type"] == "SqlStore"


def test_all_workers_killed_at_once_come_back_in_their_roles(deployed: Deployed) -> None:
    before = deployed.processes()
    with logging_metrics(deployed) as load, moving_artifacts(deployed, killed=True) as files:
        deployed.python(f"import os\nfor pid in {list(before.workers)}: os.kill(pid, 9)")
        replaced(deployed, before, before.workers)
        load.goes_on()
        files.goes_on(3)


def test_a_worker_killed_during_a_reload_leaves_every_role_filled(deployed: Deployed) -> None:
    before = deployed.processes()
    with logging_metrics(deployed) as load, moving_artifacts(deployed, killed=True) as files:
        deployed.python(f"import os\nos.kill({before.master}, 1)\nos.kill({before.asgi[0]}, 9)")
        replaced(deployed, before, before.workers)
        load.goes_on()
        files.goes_on(3)


# One runtime: it waits a minute for gunicorn, whose workers are the same on both.
@pytest.mark.slow
@pytest.mark.only("embedded")
def test_hung_workers_are_replaced(deployed: Deployed) -> None:
    before = deployed.processes()
    hung = (before.flask[0], before.asgi[0])
    # They need not hurry for a whole minute.
    with (
        logging_metrics(deployed, pause=0.5) as load,
        moving_artifacts(deployed, killed=True, pause=0.5) as files,
    ):
        started = time.monotonic()
        for pid in hung:
            deployed.signal(pid, signal.SIGSTOP)
        replaced(deployed, before, hung, HUNG_DEADLINE)
        took = time.monotonic() - started
        load.goes_on()
        files.goes_on(2)
    print(f"\n{deployed.runtime}: replaced after {took:.0f} s; longest call {load.longest:.0f} s")
