"""Who sends the right password waits at most, and is let in; only wrong ones are counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from provision_server.auth import login_guard
from provision_server.auth.login_guard import LoginGuard, Turns, Verdict
from provision_server.auth.rate_limit import BURST, SECONDS_EACH

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
Scene = Callable[[], Coroutine[Any, Any, None]]


class MLflow:
    """Stands for MLflow's users: it hashes in its time, and remembers what was right."""

    def __init__(self, passwords: dict[str, str], seconds: float = 0.005) -> None:
        self.passwords, self.seconds = passwords, seconds
        self.hashed: list[str] = []
        self.remembered: set[tuple[str, str]] = set()

    def is_right(self, user: str, password: str, _changes: object) -> bool:
        if (user, password) in self.remembered:
            return True
        self.hashed.append(user)
        time.sleep(self.seconds)
        if self.passwords.get(user) != password:
            return False
        self.remembered.add((user, password))
        return True


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> MLflow:
    found = MLflow({"ana": "hers", "bob": "his"})
    monkeypatch.setattr(login_guard, "_is_right", found.is_right)
    monkeypatch.setattr(
        login_guard, "_is_remembered", lambda user, password: (user, password) in found.remembered
    )
    monkeypatch.setattr(login_guard, "_forget", found.remembered.clear)
    return found


async def verdicts(guard: LoginGuard, *asked: tuple[str, str, str]) -> list[Verdict]:
    return [verdict for verdict, _ in await asyncio.gather(*(guard.guard(*one) for one in asked))]


def test_many_who_come_after_a_start_are_all_let_in(mlflow: MLflow) -> None:
    async def scene() -> None:
        asked = [(HERE, "ana", "hers"), (ELSEWHERE, "bob", "his")] * 60
        assert set(await verdicts(LoginGuard(1), *asked)) == {Verdict.right}

    asyncio.run(scene())
    assert sorted(mlflow.hashed) == ["ana", "bob"]


def test_who_was_never_in_waits_behind_a_flood_from_the_same_address(mlflow: MLflow) -> None:
    async def scene() -> None:
        guard = LoginGuard(1)
        flood = [asyncio.ensure_future(guard.guard(HERE, f"user{number}", "wrong")) for number in range(30)]
        await asyncio.sleep(0.02)
        assert await guard.guard(HERE, "ana", "hers") == (Verdict.right, login_guard.PAUSE)
        assert {(await one)[0] for one in flood} == {Verdict.wrong}

    asyncio.run(scene())


def test_who_sends_much_has_one_turn_of_each_round(mlflow: MLflow) -> None:
    async def scene() -> None:
        guard = LoginGuard(1)
        flood = [
            asyncio.ensure_future(guard.guard(HERE, "bob", f"wrong {number}")) for number in range(BURST)
        ]
        await asyncio.sleep(0.02)
        before = len(mlflow.hashed)
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.right
        assert len(mlflow.hashed) - before <= 3
        assert {(await one)[0] for one in flood} == {Verdict.wrong}

    asyncio.run(scene())


def test_a_wrong_password_counts_once_however_often_it_is_sent(mlflow: MLflow) -> None:
    """As a job does whose password was changed: its colleagues of the same name and address still come in."""

    async def scene() -> None:
        guard = LoginGuard(1)
        assert set(await verdicts(guard, *[(HERE, "ana", "an old one")] * 100)) == {Verdict.wrong}
        assert mlflow.hashed == ["ana"]
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.right

    asyncio.run(scene())


def test_a_password_that_was_right_once_is_no_guess(mlflow: MLflow) -> None:
    """However many programs go on with it, and however often a user changes meanwhile."""

    async def scene() -> None:
        guard = LoginGuard(1)
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.right
        mlflow.passwords["ana"] = "new"
        for _ in range(2 * BURST):
            mlflow.remembered.clear()
            guard.changes.publish("/api/2.0/mlflow/users/update-password", 200)
            assert set(await verdicts(guard, *[(HERE, "ana", "hers")] * 8)) == {Verdict.wrong}
        assert len(mlflow.hashed) == 1 + 2 * BURST
        assert (await guard.guard(HERE, "ana", "new"))[0] is Verdict.right

    asyncio.run(scene())


def test_guesses_are_counted_by_address_and_user(mlflow: MLflow) -> None:
    async def scene() -> None:
        guard = LoginGuard(1)
        guesses = [(await guard.guard(HERE, "ana", f"guess {number}"))[0] for number in range(BURST + 5)]
        assert guesses == [Verdict.wrong] * BURST + [Verdict.later] * 5
        verdict, wait = await guard.guard(HERE, "ana", "one more")
        assert verdict is Verdict.later
        assert 0 < wait <= 6
        assert (await guard.guard(ELSEWHERE, "ana", "guess"))[0] is Verdict.wrong
        assert (await guard.guard(HERE, "bob", "his"))[0] is Verdict.right

    asyncio.run(scene())


def test_who_was_in_is_let_in_beside_guesses_of_others(mlflow: MLflow) -> None:
    async def scene() -> None:
        guard = LoginGuard(1)
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.right
        await verdicts(guard, *[(HERE, "ana", f"guess {number}") for number in range(3 * BURST)])
        # As every half minute, and whenever a user changes.
        mlflow.remembered.clear()
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.right

    asyncio.run(scene())


def test_a_change_of_a_user_counts_at_once(mlflow: MLflow) -> None:
    async def scene() -> None:
        guard = LoginGuard(1)
        assert (await guard.guard(HERE, "ana", "new"))[0] is Verdict.wrong
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.right
        mlflow.passwords["ana"] = "new"
        guard.changes.publish("/api/2.0/mlflow/users/update-password", 200)
        assert (await guard.guard(HERE, "ana", "new"))[0] is Verdict.right
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.wrong

    asyncio.run(scene())


def test_a_database_that_is_away_is_told_and_ends_no_turn(
    mlflow: MLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> bool:
        raise OSError("away")

    async def scene() -> None:
        guard = LoginGuard(1)
        monkeypatch.setattr(login_guard, "_is_right", away)
        found = await asyncio.gather(
            *(guard.guard(HERE, "ana", "hers") for _ in range(5)), return_exceptions=True
        )
        assert all(isinstance(one, OSError) for one in found)
        monkeypatch.setattr(login_guard, "_is_right", mlflow.is_right)
        assert (await guard.guard(HERE, "ana", "hers"))[0] is Verdict.right

    asyncio.run(scene())


async def take(turns: Turns, key: bytes, order: list[bytes], seconds: float = 5.0) -> bool:
    async with turns.turn(key, seconds) as is_mine:
        if is_mine:
            order.append(key)
            await asyncio.sleep(0.002)
        return is_mine


def test_each_key_has_its_turn() -> None:
    async def scene() -> None:
        turns, order = Turns(100), list[bytes]()
        await asyncio.gather(*(take(turns, key, order) for key in (b"a", b"a", b"a", b"a", b"b", b"c", b"b")))
        assert order == [b"a", b"a", b"b", b"c", b"a", b"b", b"a"]

    asyncio.run(scene())


def test_a_turn_that_does_not_come_in_time_is_no_ones() -> None:
    async def scene() -> None:
        turns, order = Turns(2), list[bytes]()
        async with turns.turn(b"a", 5) as is_mine:
            assert is_mine
            assert not await take(turns, b"b", order, 0.01)
            waiting = [asyncio.ensure_future(take(turns, b"c", order)) for _ in range(2)]
            await asyncio.sleep(0)
            # Two wait already.
            assert not await take(turns, b"d", order)
            waiting[0].cancel()
        assert await waiting[1]
        assert await take(turns, b"e", order)
        assert order == [b"c", b"e"]

    asyncio.run(scene())


def test_a_turn_that_comes_as_its_task_ends_is_handed_on() -> None:
    async def scene() -> None:
        turns, order = Turns(10), list[bytes]()
        first = turns.turn(b"a", 5)
        await first.__aenter__()
        waiting = [asyncio.ensure_future(take(turns, key, order)) for key in (b"b", b"c")]
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)
        waiting[0].cancel()
        assert await waiting[1]
        assert order == [b"c"]

    asyncio.run(scene())


def test_the_limits_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs/explanation/limits.md").read_text()
    assert f"| {login_guard.MOST_WAITING} in each process, {login_guard.PATIENCE:.0f} s |" in page
    assert f"| {BURST} different ones, then one each {SECONDS_EACH:.0f} s |" in page
