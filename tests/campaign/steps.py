"""What a campaign does next: drawn from its seed and the step's number alone, so a seed repeats its steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

SERVICES = {"docker": ("postgres", "minio", "mlflow", "proxy"), "embedded": ("postgres", "mlflow", "proxy")}
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")
Values = dict[str, object]


@dataclass(frozen=True)
class Step:
    """One action with the values that it is done with."""

    number: int
    action: str
    values: Mapping[str, object]

    def __str__(self) -> str:
        return " ".join(
            (
                f"step {self.number}: {self.action}",
                *(f"{name}={value}" for name, value in self.values.items()),
            )
        )


def kill_service(random: Random, runtime: str) -> Values:
    return {"service": random.choice(SERVICES[runtime]), "after": _moment(random)}


def kill_all_services(random: Random, _runtime: str) -> Values:
    return {"after": _moment(random)}


def kill_supervisor(random: Random, _runtime: str) -> Values:
    return {"after": _moment(random)}


def stop_up(random: Random, _runtime: str) -> Values:
    """Draw where each of up to three `up` in a row ends: so long after it has said so many lines."""
    times = random.randint(1, 3)
    return {
        "signals": tuple(
            (random.randint(0, 10), _moment(random, 1.5), random.choice(SIGNALS)) for _ in range(times)
        )
    }


def two_ups(random: Random, _runtime: str) -> Values:
    """Draw whether the stack is down before, and how much later than the first the second begins."""
    return {"down": random.random() < 0.5, "after": _moment(random)}


def change_workers(random: Random, _runtime: str) -> Values:
    return {"workers": random.choice(("1", "2", "3", "auto"))}


def kill_workers(random: Random, _runtime: str) -> Values:
    """Draw which workers end, by their place in the list of them, and whether a reload is under way."""
    return {
        "workers": tuple(sorted(random.sample(range(6), random.randint(1, 3)))),
        "reload": random.random() < 0.3,
    }


def reload(random: Random, _runtime: str) -> Values:
    return {"times": random.randint(1, 3)}


def restart(random: Random, _runtime: str) -> Values:
    return {"after": _moment(random)}


def log_batches(random: Random, _runtime: str) -> Values:
    return {"clients": random.randint(4, 24), "calls": random.randint(3, 8)}


def flood(random: Random, _runtime: str) -> Values:
    return {
        "way": random.choice(("one", "many", "names")),
        "connections": random.randint(4, 32),
        "seconds": random.randint(2, 5),
    }


def _moment(random: Random, most: float = 1.0) -> float:
    return round(random.uniform(0, most), 3)


Draw = Callable[[Random, str], Values]
DRAWS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        kill_service,
        kill_all_services,
        kill_supervisor,
        stop_up,
        two_ups,
        change_workers,
        kill_workers,
        reload,
        restart,
        log_batches,
        flood,
    )
}
# Docker's engine keeps its containers alive itself.
ELSEWHERE = {"docker": {"kill_supervisor"}, "embedded": set[str]()}


def sequence(seed: str, runtime: str) -> Iterator[Step]:
    """Yield the endless sequence of that seed on that runtime."""
    names = [name for name in DRAWS if name not in ELSEWHERE[runtime]]
    for number in itertools.count(1):
        random = Random(f"{seed} {runtime} {number}")
        action = random.choice(names)
        yield Step(number, action, DRAWS[action](random, runtime))
