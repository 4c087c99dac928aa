"""Failed logins are counted for all processes together, fade with time, and cost nobody else anything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from provision_server.auth.rate_limit import (
    BURST,
    KNOWN_SECONDS,
    SECONDS_EACH,
    Failures,
    Known,
    Locks,
    digest,
    network,
)

FORK = multiprocessing.get_context("fork")


class Hands:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_failures_are_free_and_then_one_waits() -> None:
    clock = Hands()
    failures, key = Failures(clock), digest("192.0.2.1", "ana")
    for _ in range(BURST):
        assert failures.wait(key) == 0
        failures.add(key)
    assert failures.wait(key) == pytest.approx(SECONDS_EACH)
    clock.now += SECONDS_EACH
    assert failures.wait(key) == 0
    failures.add(key)
    assert failures.wait(key) > 0


def test_failures_of_one_are_not_those_of_another() -> None:
    failures = Failures(Hands())
    for _ in range(100):
        failures.add(digest("192.0.2.1", "ana"))
    assert failures.wait(digest("192.0.2.1", "bob")) == 0
    assert failures.wait(digest("192.0.2.2", "ana")) == 0
    assert failures.wait(digest("192.0.2.1", "ana")) > 60


def test_many_others_do_not_push_out_who_failed_often() -> None:
    failures, key = Failures(Hands(), entries=64), digest("192.0.2.1", "ana")
    for _ in range(BURST + 5):
        failures.add(key)
    for number in range(5000):
        failures.add(digest("192.0.2.1", f"user{number}"))
    assert failures.wait(key) > 0


def test_a_right_login_is_known_for_hours_and_no_longer() -> None:
    clock = Hands()
    known, key = Known(clock), digest("ana", "password")
    assert not known.has(key)
    known.add(key)
    clock.now += KNOWN_SECONDS - 1
    assert known.has(key)
    clock.now += 2
    assert not known.has(key)
    known.add(key)
    known.drop(key)
    assert not known.has(key)


def test_what_one_process_counts_all_see() -> None:
    failures, key = Failures(), digest("192.0.2.1", "ana")

    def fail() -> None:
        for _ in range(50):
            failures.add(key)

    workers = [FORK.Process(target=fail) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # Some seconds of it have faded.
    assert failures.wait(key) == pytest.approx((200 - BURST + 1) * SECONDS_EACH, abs=60)


def holding(locks: Locks) -> Any:
    """A process that holds one of the locks until it is killed."""
    ready = FORK.Event()

    def hold() -> None:
        with locks.any(1) as free:
            assert free
            ready.set()
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    assert ready.wait(20)
    return process


def gets(locks: Locks, seconds: float = 0.05) -> bool:
    with locks.any(seconds) as free:
        return free


def test_so_many_processes_hold_a_lock_and_one_that_is_killed_no_more() -> None:
    locks = Locks(2)
    first, second = holding(locks), holding(locks)
    try:
        started = time.monotonic()
        assert not gets(locks, 0.2)
        assert 0.1 < time.monotonic() - started < 5
        os.kill(first.pid, signal.SIGKILL)
        first.join()
        assert gets(locks)
    finally:
        second.kill()
        second.join()


def test_the_threads_of_a_process_take_turns() -> None:
    locks = Locks(2)
    with locks.any(1) as here, ThreadPoolExecutor(1) as pool:
        assert here
        assert not pool.submit(gets, locks).result()
    assert gets(locks)


def test_an_address_of_ipv6_is_as_much_as_one_client_may_have() -> None:
    assert network("2001:db8:1:2:3:4:5:6") == network("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:3::1") != network("2001:db8:1:2::1")
    assert network("192.0.2.1") == "192.0.2.1"
    assert network("no address") == "no address"


def test_parts_of_a_key_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", "b") == digest("a", "b")
