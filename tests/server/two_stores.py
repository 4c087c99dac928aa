"""MLflow's own tracking store and ours, each with a database of its own, asked the same."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import random
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import mlflow.utils.time
import pytest
import sqlalchemy
from mlflow.entities._mlflow_object import _MlflowObject
from mlflow.exceptions import MlflowException
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from provision_server.stores.lazy_run import LazyRun
from tests.server.store_calls import Call, learn, next_call, opening
from tests.server.store_values import World
from tests.support.embedded import PASSWORD, SUPERUSER, Postgres

# The methods that our store has in place of MLflow's.
HOT = (
    "log_metric",
    "log_param",
    "set_tag",
    "log_batch",
    "create_run",
    "update_run_info",
    "get_run",
    "_search_runs",
    "get_metric_history",
    "get_metric_history_bulk",
    "get_metric_history_bulk_interval",
)
MOST_FINDINGS = 5
# Tables are compared after so many calls too: what differs there, later answers may never show.
TABLES_EVERY = 100
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_ROW = re.compile(r"(.)\1{39,}")
# One of two that MLflow gives no order.
_ZERO_OR_NAN = "0 or NaN"


class Databases:
    """Databases with MLflow's tables, copied from one that is made once."""

    def __init__(self, server: Postgres) -> None:
        self._server, self._numbers = server, itertools.count(1)
        server.query("CREATE DATABASE tables")
        uri = self._uri("tables")
        SqlAlchemyStore(uri, "mlflow-artifacts:/")
        _close(uri)

    def _uri(self, database: str) -> str:
        return self._server.uri(f"{SUPERUSER}:{PASSWORD}", database)

    @contextlib.contextmanager
    def store(self, kind: Callable[[str, str], Any]) -> Iterator[Any]:
        """A store of that class on an empty database, until the caller is done."""
        database = f"store_{next(self._numbers)}"
        self._server.query(f"CREATE DATABASE {database} TEMPLATE tables")
        uri = self._uri(database)
        try:
            yield kind(uri, "mlflow-artifacts:/")
        finally:
            _close(uri)
            self._server.query(f"DROP DATABASE {database} WITH (FORCE)")


def _close(uri: str) -> None:
    # MLflow keeps an engine for each address as long as its process lives.
    engine = SqlAlchemyStore._engine_map.pop(uri, None)
    if engine is not None:
        engine.dispose()


class Conditions:
    """Ids, invented names and the clock of a call: what its seed and number make them, whoever asks first."""

    def __init__(self, seed: str, number: int) -> None:
        self._seed, self._number = seed, number
        self._ids = Random()

    def begin(self) -> None:
        """Begin anew with the first id and the first name."""
        self._ids = Random(f"{self._seed} {self._number} ids")
        random.seed(f"{self._seed} {self._number} names")

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """They are these until the caller is done."""
        state = random.getstate()
        clock = SimpleNamespace(time=lambda: 1_700_000_000 + self._number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=self._ids.getrandbits(128), version=4))
            patch.setattr(mlflow.utils.time, "time", clock)
            self.begin()
            try:
                yield
            finally:
                random.setstate(state)


@dataclass(frozen=True)
class Answer:
    """What a call returned, or raised, as plain data; `value` is what it returned itself."""

    plain: str
    value: Any = None
    failed: bool = False


def ask(store: Any, call: Call) -> Answer:
    # Each store gets arguments of its own: one that changes them changes them for nobody else.
    arguments = copy.deepcopy(call.arguments)
    try:
        value = _sql(store, *arguments) if call.method == "sql" else getattr(store, call.method)(*arguments)
    except Exception as error:
        return Answer(raised(error), failed=True)
    return Answer(repr(plain(fairly(call, value))), value)


def _sql(store: Any, statement: str) -> int:
    with store.engine.begin() as connection:
        return int(connection.exec_driver_sql(statement).rowcount)


def raised(error: Exception) -> str:
    """Return the error as text: its class, its code, and what it says."""
    code = error.error_code if isinstance(error, MlflowException) else ""
    said = _ADDRESS.sub("ADDRESS", str(error))
    return f"raised {type(error).__module__}.{type(error).__qualname__} {code}: {said}"


def plain(value: Any) -> Any:
    """Return the value as data that is equal where its repr is; -0.0 and 0.0, 1 and True differ there."""
    if isinstance(value, LazyRun):
        value = value.whole()
    if isinstance(value, _MlflowObject):
        return (type(value).__name__, {name: _unordered(item) for name, item in sorted(vars(value).items())})
    if isinstance(value, PagedList):
        return {"items": [plain(item) for item in value], "token": value.token}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return value


def _unordered(value: Any) -> Any:
    """As `plain`; of a run's metrics, parameters, tags, inputs and outputs MLflow gives no order."""
    if isinstance(value, dict):
        return sorted(((key, plain(item)) for key, item in value.items()), key=repr)
    if isinstance(value, list):
        return sorted((plain(item) for item in value), key=repr)
    return plain(value)


def fairly(call: Call, value: Any) -> Any:
    """Return a history with NaN and 0 of one step and time, which MLflow keeps both as 0, in one order.

    Where a page ends between the two, either may be on it.
    """
    if call.method not in {"get_metric_history", "get_metric_history_bulk"} or not value:
        return value
    groups = [list(group) for _, group in itertools.groupby(value, _place)]
    for group in groups:
        group.sort(key=lambda metric: repr(metric.value))
    most, token = call.arguments[2], call.arguments[3] if len(call.arguments) > 3 else None
    cut = {0} if token else set()
    if getattr(value, "token", None) or len(value) == most:
        cut.add(len(groups) - 1)
    for group in (groups[number] for number in cut):
        if len(group) == 1 and _place(group[0])[-1] == 0:
            group[0] = copy.copy(group[0])
            group[0]._value = _ZERO_OR_NAN
    metrics = list(itertools.chain.from_iterable(groups))
    return PagedList(metrics, value.token) if isinstance(value, PagedList) else metrics


def _place(metric: Any) -> tuple[Any, ...]:
    """Return what MLflow orders a history by."""
    number = 0.0 if math.isnan(metric.value) else metric.value
    return metric.run_id, metric.timestamp, metric.step, number


def rows(store: Any) -> dict[str, Counter[str]]:
    """Return all rows of all tables, as the database writes them."""
    named = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    with store.engine.connect() as connection:
        return {
            name: Counter(connection.exec_driver_sql(f'SELECT t::text FROM "{name}" AS t').scalars())
            for name in connection.execute(sqlalchemy.text(named)).scalars()
        }


def different_rows(theirs: Any, ours: Any) -> list[str]:
    """Return for each table with other rows what is in one database alone."""
    mine, its = rows(ours), rows(theirs)
    return [
        f"table {name}:\n  in MLflow's alone: {list(its[name] - mine[name])[:5]}\n"
        f"  in ours alone:     {list(mine[name] - its[name])[:5]}"
        for name in sorted(its)
        if mine[name] != its[name]
    ]


@dataclass
class Ways:
    """Which way our store's calls took: its own, or the method of MLflow's that it inherits."""

    kind: type[Any]
    conditions: Conditions = field(default_factory=lambda: Conditions("", 0))
    left: set[str] = field(default_factory=set)
    all: Counter[str] = field(default_factory=Counter)
    short: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """MLflow's methods note that they were called for a store of ours."""
        with pytest.MonkeyPatch.context() as patch:
            for name in HOT:
                patch.setattr(SqlAlchemyStore, name, self._noting(name, getattr(SqlAlchemyStore, name)))
            yield

    def _noting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(store: Any, *arguments: Any, **named: Any) -> Any:
            if isinstance(store, self.kind):
                if not self.left:
                    # A short way may have taken ids and names before it left the call to this one.
                    self.conditions.begin()
                self.left.add(name)
            return method(store, *arguments, **named)

        return noted

    def begin(self, conditions: Conditions) -> None:
        """The next call is made under these conditions."""
        self.conditions = conditions
        self.left.clear()

    def count(self, call: Call, answer: Answer) -> None:
        """Count the call that was just made; MLflow's method may have called others of ours."""
        name = "_search_runs" if call.method == "search_runs" else call.method
        if answer.failed:
            self.refused[name] += 1
        else:
            self.all[name] += 1
            self.short[name] += name in HOT and name not in self.left

    def calls(self) -> int:
        """Return how many calls were counted."""
        return (self.all + self.refused).total()

    def __str__(self) -> str:
        lines = [
            f"{name:34}{self.short[name]:6} of {self.all[name]:6}, and {self.refused[name]} refused"
            for name in HOT
        ]
        others = self.calls() - sum(self.all[name] + self.refused[name] for name in HOT)
        return "\n".join([*lines, f"other methods: {others} calls"])


@dataclass
class Comparison:
    """The calls of one seed, to MLflow's own store and to ours; a difference is a finding."""

    seed: str
    theirs: Any
    ours: Any
    ways: Ways
    world: World = field(default_factory=World)
    number: int = 0
    findings: list[str] = field(default_factory=list)

    def run(self, calls: int) -> None:
        """Make so many calls beside the first ones; stop where too much differs."""
        with self.ways.watched():
            for method, arguments in opening(self.world):
                self.make(Call(self.number + 1, method, arguments))
            end = self.number + calls
            while self.number < end and len(self.findings) < MOST_FINDINGS:
                self.make(next_call(self.seed, self.number + 1, self.world))
                # After other rows nothing else says much.
                if self.number % TABLES_EVERY == 0 and self._other_rows():
                    return
            self._other_rows()

    def make(self, call: Call) -> None:
        """Make the call of both; keep what it has made, and how the answers differ."""
        self.number = call.number
        answers = []
        for store in (self.theirs, self.ours):
            conditions = Conditions(self.seed, call.number)
            self.ways.begin(conditions)
            with conditions.kept():
                answers.append(ask(store, call))
        its, mine = answers
        self.ways.count(call, mine)
        if its.plain != mine.plain:
            its_own, my_own = squeezed(its.plain), squeezed(mine.plain)
            self.findings.append(
                f"seed {self.seed}, {shortened(squeezed(str(call)))}\n"
                f"  MLflow's: {around(its_own, my_own)}\n  ours:     {around(my_own, its_own)}"
            )
        if not its.failed:
            learn(self.world, call, its.value)

    def _other_rows(self) -> bool:
        different = different_rows(self.theirs, self.ours)
        self.findings += [
            f"seed {self.seed}, after call {self.number}, {squeezed(text)}" for text in different
        ]
        return bool(different)


def squeezed(text: str) -> str:
    """Return the text with the length of each long row of one character in its place."""
    return _ROW.sub(lambda row: f"{row[1]}<{len(row[0])} times>", text)


def shortened(text: str, most: int = 2000) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def around(text: str, other: str, most: int = 1000) -> str:
    """Return the text, of a long one what is around the first place where it differs from the other."""
    same = next((n for n, pair in enumerate(zip(text, other, strict=False)) if len(set(pair)) > 1), 0)
    start = max(0, same - most // 2)
    return f"{'... ' if start else ''}{shortened(text[start:], most)}"


def compare(databases: Databases, seed: str, calls: int, ways: Ways) -> list[str]:
    """Return what differs in so many calls of that seed."""
    with databases.store(SqlAlchemyStore) as theirs, databases.store(ways.kind) as ours:
        comparison = Comparison(seed, theirs, ours, ways)
        comparison.run(calls)
        return comparison.findings
