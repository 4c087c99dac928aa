"""Thousands of random calls to our tracking store and to MLflow's own: `make campaign SECONDS=600 SEED=abc`.

A seed makes the same calls again, in the same order.
"""

from __future__ import annotations

import itertools
import time

import pytest

from provision_server.stores.tracking import TrackingStore
from tests.server.two_stores import Databases, Ways, compare
from tests.support.embedded import start_postgres
from tests.support.summary import counted

# Of the campaign's seconds; what happens to a stack takes all of them, beside.
PART = 0.25
# On databases of their own, as searches of many runs take long.
CALLS = 500


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("runtime", ["embedded"])
def test_every_call_is_answered_as_by_mlflows_own_store(runtime: str, request: pytest.FixtureRequest) -> None:
    """On one runtime: no part of the store knows which one it is."""
    seed, whole = request.config.getoption("--seed"), request.config.getoption("--campaign")
    again = f"make campaign SEED={seed} SECONDS={whole} RUNTIME={runtime}"
    print(f"\nseed {seed}, {whole * PART:.0f} s, {runtime}; the same again: {again}")
    end, ways = time.monotonic() + whole * PART, Ways(TrackingStore)
    for server in start_postgres():
        databases = Databases(server)
        for number in itertools.count(1):
            if time.monotonic() >= end:
                break
            findings = compare(databases, f"{seed} {number}", CALLS, ways)
            assert not findings, "\n".join(findings)
            print(f"round {number} held, {counted(ways.calls(), 'call')} so far", flush=True)
    print(f"answered without MLflow's own method\n{ways}")
