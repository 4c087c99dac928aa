"""The loop that waits: until something is there, or a deadline has passed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from provisioner.system.wait import wait_for, wait_until


def looks(*answers: str | None) -> Iterator[str | None]:
    yield from answers


def test_what_is_there_is_returned_at_once() -> None:
    started = time.monotonic()
    assert wait_for(lambda: "here", 60, 60) == "here"
    assert time.monotonic() - started < 30


def test_it_looks_until_something_is_there() -> None:
    answers = looks(None, None, "here", "later")
    assert wait_for(lambda: next(answers), 60, 0.001) == "here"
    assert next(answers) == "later"


@pytest.mark.parametrize("interval", [0.01, 60.0])
def test_it_gives_up_at_the_deadline_after_a_last_look(interval: float) -> None:
    looked: list[float] = []
    started = time.monotonic()
    assert wait_for(lambda: looked.append(time.monotonic()), 0.1, interval) is None
    assert len(looked) >= 2
    assert looked[-1] - started >= 0.1


def test_it_looks_once_even_without_time() -> None:
    answers = looks("here")
    assert wait_for(lambda: next(answers), 0, 1) == "here"


def test_what_a_look_raises_ends_the_wait() -> None:
    def look() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait_until(look, 60, 60)


def test_a_condition_is_met_or_not() -> None:
    assert wait_until(lambda: True, 0, 1)
    assert not wait_until(lambda: False, 0, 1)
