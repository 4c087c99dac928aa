"""A campaign's seed gives the same sequence again, and the sequence has everything that it may do."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.campaign.actions import Campaign
from tests.campaign.steps import DRAWS, ELSEWHERE, sequence


@pytest.mark.parametrize("runtime", ["docker", "embedded"])
def test_a_seed_gives_the_same_steps_and_another_gives_others(runtime: str) -> None:
    first, again, other = (
        list(islice(sequence(seed, runtime), 50)) for seed in ("a seed", "a seed", "another")
    )
    assert [str(step) for step in first] == [str(step) for step in again]
    assert [str(step) for step in first] != [str(step) for step in other]
    assert str(first[0]).startswith("step 1: ")


@pytest.mark.parametrize("runtime", ["docker", "embedded"])
def test_every_action_is_drawn_and_can_be_done(runtime: str) -> None:
    drawn = {step.action for step in islice(sequence("0", runtime), 200)}
    assert drawn == set(DRAWS) - ELSEWHERE[runtime]
    assert [name for name in drawn if not callable(getattr(Campaign, name, None))] == []


def test_a_step_depends_on_its_number_and_not_on_how_many_were_taken() -> None:
    late = next(islice(sequence("x", "embedded"), 30, None))
    assert late == list(islice(sequence("x", "embedded"), 31))[30]
