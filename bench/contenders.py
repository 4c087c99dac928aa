"""The contenders of one run: made when first needed, running only while they are measured."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.ours import Ours
from bench.reference import Reference, reference_environment
from bench.rows import Row, Samples
from bench.stores import Stores

REFERENCE, TUNED, REFERENCE_AUTH = "reference", "reference-tuned", "reference-auth"
OURS, OURS_AUTH, OURS_TLS = "ours", "ours-auth", "ours-auth-tls"
# Two of ours that differ in how many runs they have.
OURS_FEW, OURS_MANY = "ours-few", "ours-many"
# The reference's job processes work for half a minute after its first answer.
SETTLE_SECONDS = 60

Contender = Ours | Reference


def say(text: str) -> None:
    """Print a line of progress to standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


@dataclass
class Contenders:
    """All contenders on the same stores, and the figures so far."""

    stores: Stores
    installed: Path
    reference_packages: Path
    runtime: str
    rounds: int
    seconds: float
    samples: Samples = field(default_factory=Samples)
    first_start: dict[str, float] = field(default_factory=dict)
    """Seconds to the first good answer of a contender's first start ever."""
    _made: dict[str, Contender] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)
    _servers: dict[str, list[psutil.Process]] = field(default_factory=dict)

    def get(self, name: str) -> Contender:
        """Return the contender of that name; prepare it and start it for the first time when it is new."""
        if name not in self._made:
            made = self._made[name] = self._make(name)
            made.prepare()
            say(f"first start of {name}")
            self.first_start[name] = made.start()
            self._since[name] = time.monotonic()
        return self._made[name]

    def start(self, name: str) -> float:
        """Start the contender, stopped first if it runs; return the seconds to its first good answer."""
        self.get(name)
        self.stop(name)
        seconds = self._made[name].start()
        self._since[name] = time.monotonic()
        return seconds

    def stop(self, name: str) -> None:
        """Stop the contender if it runs."""
        self._servers.pop(name, None)
        if self._since.pop(name, None) is not None:
            self._made[name].stop()

    def only(self, *names: str) -> None:
        """Stop all contenders but these, and start those of these that do not run."""
        for name in [running for running in self._since if running not in names]:
            self.stop(name)
        for name in names:
            self.get(name)
            if name not in self._since:
                self.start(name)

    @property
    def few_rounds(self) -> int:
        """Return the number of rounds for what takes long and varies little."""
        return max(1, self.rounds - 1)

    def server_processes(self, name: str) -> list[psutil.Process]:
        """Return the processes of the contender's server, looked for once in each time that it runs."""
        if name not in self._servers:
            self._servers[name] = self.get(name).server_processes()
        return self._servers[name]

    def settle(self, *names: str) -> None:
        """Wait until a minute after the first answer of these, and of all that run and have job processes."""
        waited_for = {REFERENCE, REFERENCE_AUTH, *names}
        since = [when for name, when in self._since.items() if name in waited_for]
        left = max(since, default=0) + SETTLE_SECONDS - time.monotonic()
        if left > 0:
            say(f"waiting {left:.0f} s until all have answered for a minute")
            time.sleep(left)

    def order(self, names: tuple[str, ...], turn: int) -> tuple[str, ...]:
        """Return the names, with another one first in each round."""
        turn %= len(names)
        return names[turn:] + names[:turn]

    def add(self, row: Row, name: str, value: float) -> None:
        """Add one figure of a contender, and print it."""
        self.samples.add(row, name, value)
        say(f"{row.name}: {name} {value:.4g} {row.unit}")

    def logs(self) -> str:
        """Return the last lines of the log of every running contender."""
        return "\n".join(f"{name}: {self._made[name].log()}" for name in self._since)

    def close(self) -> None:
        """Stop every contender, and remove every stack."""
        for name, contender in self._made.items():
            with contextlib.suppress(Exception):
                self.stop(name)
            contender.remove()

    def _make(self, name: str) -> Contender:
        login = "-auth" in name
        if name.startswith(OURS):
            return Ours(name, self.stores, self.installed, self.runtime, login=login, tls=name == OURS_TLS)
        # As many as ours on this machine: one for each core, and one for FastAPI's routes.
        workers = (psutil.cpu_count() or 1) + 1 if name == TUNED else None
        return Reference(name, self.stores, self.reference_packages, login=login, workers=workers)


@contextlib.contextmanager
def open_contenders(
    stores: Stores, installed: Path, runtime: str, rounds: int, seconds: float
) -> Iterator[Contenders]:
    """Run the block with the contenders, and close it afterwards."""
    made = Contenders(stores, installed, reference_environment(stores.environment), runtime, rounds, seconds)
    try:
        yield made
    finally:
        made.close()
