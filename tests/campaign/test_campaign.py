"""The long random part: `make campaign SECONDS=600 SEED=abc`.

A seed does the same again, in the same order, with the same values.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from tests.campaign.actions import Campaign
from tests.campaign.steps import sequence
from tests.support.scheduling import RUNTIMES
from tests.support.summary import counted


@pytest.mark.campaign
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_whatever_happens_the_stack_comes_back_with_everything_acknowledged(
    runtime: str, installed: Path, stacks: Path, request: pytest.FixtureRequest
) -> None:
    if runtime == "docker":
        request.getfixturevalue("docker")
    seed, seconds = request.config.getoption("--seed"), request.config.getoption("--campaign")
    print(
        f"\nseed {seed}, {seconds} s, {runtime}; the same again: "
        f"make campaign SEED={seed} SECONDS={seconds} RUNTIME={runtime}"
    )
    with contextlib.ExitStack() as cleanup:
        campaign = Campaign(installed, stacks, runtime, cleanup)
        end = time.monotonic() + seconds
        for step in sequence(seed, runtime):
            if time.monotonic() >= end:
                break
            print(step, flush=True)
            started = time.monotonic()
            campaign.do(step)
            print(f"step {step.number} held, {time.monotonic() - started:.1f} s", flush=True)
        campaign.all_there()
        print(f"{counted(step.number - 1, 'step')} held")
