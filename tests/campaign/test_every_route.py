"""Every route of a running stack is fuzzed: `make campaign SECONDS=600 SEED=abc`.

A seed makes the same calls again, in the same order.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.campaign.fuzzing import Fuzz
from tests.faults.conftest import new_stack
from tests.server.deployed import Deployed
from tests.support.checks import service_not_restarted
from tests.support.ports import free_port

# Two workers for Flask's application, so that the one that a call was bad for is not the one
# that is asked next.
SETTINGS = "artifact_store:\n  kind: local\nserver:\n  auth: basic\n  workers: 2\n  port: {port}\n"
# Of the campaign's seconds; what happens to a stack takes all of them, beside.
PART = 0.5
MB = 1024**2
# What a process may have more after all rounds than after the first:
# caches fill, of which each has a largest size.
MORE_MEMORY = 64 * MB


@pytest.mark.campaign
@pytest.mark.parametrize("runtime", ["embedded"])
def test_no_call_shows_the_inside_or_costs_a_worker_or_memory(
    runtime: str, installed: Path, stacks: Path, request: pytest.FixtureRequest
) -> None:
    """On one runtime: what answers is the same code on both."""
    seed, whole = request.config.getoption("--seed"), request.config.getoption("--campaign")
    again = f"make campaign SEED={seed} SECONDS={whole} RUNTIME={runtime}"
    print(f"\nseed {seed}, {whole * PART:.0f} s, {runtime}; the same again: {again}")
    with new_stack(installed, stacks / f"routes-{runtime}", runtime) as program:
        program.settings(SETTINGS.format(port=free_port()))
        deployed = Deployed(program, str(program.up("--no-link").data["tracking_uri"]))
        before = deployed.processes()
        with service_not_restarted(program):
            fuzz = Fuzz(deployed, seed)
            memory = fuzz.run(time.monotonic() + whole * PART)
            print(fuzz.report(memory))
            # A call as anybody makes it, of either application.
            assert [answer.status for answer in fuzz.usual_calls()] == [200, 200]
        assert deployed.processes() == before
        assert {name: more for name, more in fuzz.more_memory(memory).items() if more > MORE_MEMORY} == {}
        assert fuzz.asked == {(operation.method, operation.path) for operation in fuzz.operations}
        assert not fuzz.findings, "\n".join(map(str, fuzz.findings.values()))
