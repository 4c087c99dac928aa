"""Random searches of runs and questions about metrics."""

from __future__ import annotations

from random import Random
from typing import Any

from mlflow.entities import ViewType

from tests.server.store_searches import filter_of, order_of
from tests.server.store_values import POINTS, Arguments, World, key_of, often, run_of

# As base64 of JSON: no offset, 0, text, a negative and a very large one; then what is none of that.
ODD_TOKENS = (
    "e30=",
    "eyJvZmZzZXQiOiAwfQ==",
    "eyJvZmZzZXQiOiAieCJ9",
    "eyJvZmZzZXQiOiAtMX0=",
    "eyJvZmZzZXQiOiAxMDAwMDAwMDAwMDAwMDAwMDAwMDAwfQ==",
    "eyJvZmZzZXQiOiAiMiJ9",
    "W10=",
    "!",
    "bad",
)


def search_runs(random: Random, world: World) -> Arguments:
    """Draw a search, mostly of some experiments that are there."""
    experiments: Any = random.sample(world.experiments, random.randrange(1, len(world.experiments) + 1))
    if random.random() < 0.08:
        experiments = random.choice(
            ([], ["0", "0"], [0], ["007"], ["99"], [*world.passing], ["x"], [None], "0", ["9" * 20], None)
        )
    views = (ViewType.ACTIVE_ONLY, ViewType.ACTIVE_ONLY, ViewType.ALL, ViewType.ALL, ViewType.DELETED_ONLY)
    view = often(random, 0.99, views, (9, None))
    most = often(random, 0.96, (1, 3, 3, 10, 1000, 50000), (None, 0, -1, 50001, "5", 1.5))
    token = often(random, 0.96, (None, ""), ODD_TOKENS)
    return experiments, filter_of(random, world), view, most, order_of(random), token


def get_metric_history(random: Random, world: World) -> Arguments:
    run, key = point_of(random, world)
    most = often(random, 0.93, (None, 1, 3, 100, 1000), (0, -1, "5"))
    return run, key, most, often(random, 0.9, (None, ""), ODD_TOKENS)


def get_metric_history_bulk(random: Random, world: World) -> Arguments:
    _, key = point_of(random, world)
    runs = [run_of(random, world) for _ in range(random.choice((0, 1, 3, 3, 10)))]
    return runs, key, often(random, 0.95, (1, 5, 1000, 25000), (0, -1, None, "5"))


def get_metric_history_bulk_interval(random: Random, world: World) -> Arguments:
    points = [point_of(random, world) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    key = points[0][1] if points else "loss"
    first, last = sorted(random.choices((-5, 0, 1, 2, 3, 7, 400, POINTS, 2**40), k=2))
    bounds = often(
        random,
        0.93,
        ((None, None), (first, last), (0, POINTS)),
        ((None, 5), (5, None), (last, first), ("x", 5)),
    )
    most = often(random, 0.93, (1, 2, 3, 7, 10, 320, 2500, 10_000), (0, -1, None, "5"))
    return [run for run, _ in points], key, most, *bounds


def get_max_step_for_metric(random: Random, world: World) -> Arguments:
    return point_of(random, world)


def point_of(random: Random, world: World) -> tuple[Any, Any]:
    """Draw a run and a key: often one with thousands of points."""
    if random.random() < 0.2:
        return random.choice(world.runs[:2]), world.long_key
    return run_of(random, world), key_of(random)
