"""Values for calls of a tracking store: mostly what clients send, in part what only a mistake would."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from mlflow.entities import Metric, Param, RunTag

KEYS = ("loss", "acc", "a/b", "x y", "f:1", "Z", "é日", "k" * 250)
# MLflow takes the second: its expression ends before a last newline.
ODD_KEYS = (
    "",
    "loss\n",
    None,
    5,
    "../x",
    "a//b",
    ".",
    "/abs",
    "k" * 251,
    'a"b',
    "a'b",
    "n\\b",
    "{a}",
    "100%",
    "%(key)s",
    "a\x00b",
)
TEXTS = (
    "",
    "1",
    "2",
    "NULL",
    "a,b",
    "é☃𝄞",
    "a\"b\\c'd",
    "{x}{",
    "50% %s %(run)s",
    "\n\t ",
    "x" * 6000,
    "x" * 6001,
    "x" * 8000,
    "x" * 8001,
)
ODD_TEXTS = (None, 5, "nul\x00", "\ud800")
# The largest are what MLflow keeps for the infinities.
NUMBERS = (
    0.0,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    1.7976931348623157e308,
    -1.7976931348623157e308,
    5e-324,
    0.1 + 0.2,
    1e23,
)
ODD_NUMBERS = (3, True, -7, 10**30, 10**400, "1", None, np.float64(0.5), np.float32(0.5), np.int64(2), 1j)
TIMES = (0, 1, 2, 3, 10**13, 2**62, 2**63 - 1)
ODD_TIMES = (-1, 2**63, None, 1.5, 2.0, "1", True, np.int64(3))
STEPS = (0, 1, 2, 3, -5, 2**40, 2**63 - 1)
ODD_STEPS = (2**63, -(2**63), -(2**63) - 1, None, 1.5, 2.0, "x", False, np.int64(3))
ODD_RUNS = ("0" * 32, "nope", "x" * 40, "", "bad id!", "a'b", "%s", "nul\x00", None, 5)
NAME_TAG = "mlflow.runName"
# Of each of two metrics, which are logged before anything else.
POINTS = 3000
Arguments = tuple[Any, ...]


@dataclass
class World:
    """What the calls so far have made, as MLflow's own store answered."""

    runs: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    # Experiments that stay, and those that are deleted, restored and renamed.
    experiments: list[str] = field(default_factory=lambda: ["0"])
    passing: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    # Searches and histories that have a next page: (method, arguments with its token).
    pages: list[tuple[str, Arguments]] = field(default_factory=list)
    # The first of `runs` have thousands of points of this key.
    long_key: str = "long"


def often(random: Random, share: float, these: Any, others: Any) -> Any:
    """Draw one of `these` in that share of draws, else one of `others`."""
    return random.choice(these if random.random() < share else others)


def run_of(random: Random, world: World) -> Any:
    """Draw a run: the last ones most often, sometimes a deleted one, seldom what is none."""
    place = random.random()
    if place < 0.03:
        return random.choice(ODD_RUNS)
    if place < 0.09 and world.gone:
        return random.choice(world.gone)
    return random.choice(world.runs[-8:] if place < 0.7 else world.runs)


def key_of(random: Random, odd: float = 0.03) -> Any:
    return often(random, 1 - odd, KEYS, ODD_KEYS)


def text_of(random: Random, odd: float = 0.03) -> Any:
    place = random.random()
    if place < 0.5:
        return str(random.randrange(3))
    return often(random, 1 - odd, TEXTS, ODD_TEXTS)


def metric_of(random: Random, world: World, odd: float = 0.01, modelled: float = 0.05) -> Metric:
    """Draw a metric; few keys, times and steps, so that many are equal or of equal age."""
    number = random.choice((1.0, 2.0, 0.25, random.uniform(-5, 5)))
    numbers = ODD_NUMBERS if random.random() < odd else often(random, 0.75, ((number,),), (NUMBERS,))
    value: Any = random.choice(numbers)
    key = key_of(random, odd)
    time = often(random, 1 - odd, TIMES, ODD_TIMES)
    step = often(random, 1 - odd, STEPS, ODD_STEPS)
    if random.random() >= modelled:
        return Metric(key, value, time, step)
    model = often(random, 0.9, world.models or ("m-none",), ("m-none", ""))
    dataset = random.choice(((None, None), ("data", "d1"), ("", "")))
    return Metric(key, value, time, step, model, *dataset)


def metrics_of(random: Random, world: World, count: int) -> list[Metric]:
    """Draw so many metrics; in some batches a few are there twice."""
    odd = random.choice((0, 0, 0.02 if count < 10 else 0.001))
    modelled = random.choice((0, 0, 0, 0, 0, 0.3 if count < 100 else 0.01))
    metrics = [metric_of(random, world, odd, modelled) for _ in range(count)]
    if count > 1 and random.random() < 0.4:
        again = random.choices(metrics, k=min(3, count // 2))
        # The number of them stays, which MLflow has a limit for.
        metrics[: len(again)] = again
    return metrics


def params_of(random: Random, count: int) -> list[Param]:
    """Draw so many parameters; few names, so that some are there with the same or another value."""
    names = [f"b{number}" for number in range(40)] + ["p", "q", "lr", "é日"]
    keys = random.sample(names, count) if count <= len(names) else [f"many{n}" for n in range(count)]
    if count > 1 and random.random() < 0.05:
        keys[0] = keys[1]
    if keys and random.random() < 0.05:
        keys[-1] = key_of(random, 0.5)
    return [
        Param(key, str(random.randrange(2)) if random.random() < 0.9 else text_of(random)) for key in keys
    ]


def tags_of(random: Random, count: int) -> list[RunTag]:
    """Draw so many tags; some keys are there twice."""
    names = ["t", "u", "é日", *(f"c{number}" for number in range(9))]
    keys = random.choices(names, k=count) if count <= 30 else [f"many{n}" for n in range(count)]
    if keys and random.random() < 0.15:
        keys[random.randrange(count)] = NAME_TAG if random.random() < 0.7 else key_of(random, 0.5)
    return [RunTag(key, "v" if random.random() < 0.6 else text_of(random)) for key in keys]
