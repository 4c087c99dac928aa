"""What is asked of contenders in turns, and the proof that what was answered was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.contenders import Contenders
from bench.cpu import wait_until_quiet
from bench.load import CONNECTIONS, Load, first_number, run_wrk
from bench.rows import Row
from bench.stores import Postgres

WARM_UP_SECONDS = 1
# For what takes a second or more with all connections at once: of a short load most would be left unanswered.
SLOW_SECONDS = 10


@dataclass(frozen=True)
class Asked:
    """What wrk asks of a contender, and how the database shows that it was done."""

    script: str
    arguments: Callable[[int], list[str]]
    """The script's arguments, from a number that no earlier load of this database has reached."""
    stored: str = ""
    """A query for how much is stored, with `{first}` for that number; empty where nothing is written."""
    each: int = 1
    """How much of it each good answer has stored."""
    authorization: str | None = None
    """The header of the login to use, in place of the contender's own."""


def compare(
    contenders: Contenders,
    row: Row,
    names: tuple[str, ...],
    ask: Callable[[str], Asked],
    *,
    connections: int = CONNECTIONS,
    slow: bool = False,
) -> None:
    """Measure in turns how many requests a second each of them answers; longer but less often if `slow`."""
    seconds = max(contenders.seconds, SLOW_SECONDS) if slow else contenders.seconds

    def rate(name: str, asked: Asked) -> float:
        # MLflow's own batches can wait for each other for seconds: no row is lost for one that stands beside.
        beside = name in row.beside
        load = ask_for(contenders, name, asked, seconds, connections=connections, may_be_silent=beside)
        return load.rate

    in_turns(contenders, row, names, ask, rate, contenders.few_rounds if slow else contenders.rounds)


def in_turns(
    contenders: Contenders,
    row: Row,
    names: tuple[str, ...],
    ask: Callable[[str], Asked],
    measure: Callable[[str, Asked], float],
    rounds: int = 0,
) -> None:
    """Run these alone, settled and warm; then add a figure of each in every round.

    The rounds are as many as everybody's, unless their number is given.
    """
    contenders.only(*names)
    asked = {name: ask(name) for name in names}
    contenders.settle()
    for name in names:
        ask_for(contenders, name, asked[name], WARM_UP_SECONDS, may_be_silent=True)
    for turn in range(rounds or contenders.rounds):
        for name in contenders.order(names, turn):
            contenders.add(row, name, measure(name, asked[name]))


def ask_for(
    contenders: Contenders,
    name: str,
    asked: Asked,
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    may_be_silent: bool = False,
) -> Load:
    """Send the requests with wrk; return what it saw.

    Raise RuntimeError unless the database has what was answered for, and at most one request more of each
    connection.
    """
    contender, postgres, first = contenders.get(name), contenders.stores.postgres, first_number()
    api = contender.api
    if asked.authorization is not None:
        api = replace(api, authorization=asked.authorization)
    before = _stored(postgres, contender.database, asked, first)
    load = run_wrk(
        api,
        asked.script,
        asked.arguments(first),
        seconds,
        connections=connections,
        may_be_silent=may_be_silent,
    )
    # wrk ends without waiting for the answers to its last requests; the server still works on them. It proves
    # a login before any query, and writes a long answer after the last one.
    postgres.wait_until_idle(contender.database)
    wait_until_quiet(contenders.server_processes(name))
    found = _stored(postgres, contender.database, asked, first) - before
    if asked.stored and not load.requests * asked.each <= found <= (load.requests + connections) * asked.each:
        raise RuntimeError(
            f"{name}: {load.requests} requests that each write {asked.each} were answered, {found} are stored"
        )
    return load


def _stored(postgres: Postgres, database: str, asked: Asked, first: int) -> int:
    """Return how much is stored, 0 where nothing is written."""
    return int(postgres.query(database, asked.stored.format(first=first))[0][0]) if asked.stored else 0
