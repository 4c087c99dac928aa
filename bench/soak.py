"""`python -m bench.soak`: 64 clients of MLflow's own kind for minutes.

No call may fail, memory and connections stay bounded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.contenders import say
from bench.memory import pss_mb
from bench.ours import Ours
from bench.soak_client import Counts, work
from bench.stores import start_stores
from tests.support.installed import installed_environment

RESULT = Path(__file__).parent / "soak.json"
CLIENTS = 64
# Threads of few processes: 64 MLflow clients of their own would need the memory of the machine.
PROCESSES = 4
WATCH_SECONDS = 5
# What the server may grow by between a fifth of the time and the end, when all its pools and caches are full.
GROWTH_ALLOWED = 1.15


@dataclass
class Watched:
    """What was seen of the server while the clients worked."""

    memory_mb: list[float] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)


def main() -> int:
    """Run the soak and write its result; return 0 when no call failed and memory stayed flat, else 1.

    Return 1 too when no run was made.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--installed", type=Path, help="as for `python -m bench`")
    options = parser.parse_args()
    with start_stores() as stores:
        server = Ours("ours", stores, options.installed or installed_environment(), "embedded")
        try:
            server.prepare()
            server.start()
            counts, watched = soak(server, options.minutes * 60)
        finally:
            server.remove()
    document = summary(counts, watched, options.minutes)
    RESULT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=2))
    return 0 if document["ok"] else 1


def soak(server: Ours, seconds: float) -> tuple[Counts, Watched]:
    """Run all clients for that long; return what they did together, and what the server took meanwhile."""
    watched = Watched()
    _watch(server, watched)
    end = time.time() + seconds
    # A forked client would have the parent's threads' locks.
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [
            pool.submit(work, server.api.url, end, CLIENTS // PROCESSES, number)
            for number in range(PROCESSES)
        ]
        while not all(part.done() for part in parts):
            time.sleep(WATCH_SECONDS)
            _watch(server, watched)
            say(
                f"{watched.memory_mb[-1]:.0f} MB, {watched.connections[-1]} connections, "
                f"{max(0, end - time.time()):.0f} s left"
            )
        total = Counts()
        for part in parts:
            total.add(part.result())
    time.sleep(WATCH_SECONDS)
    _watch(server, watched)
    return total, watched


def _watch(server: Ours, watched: Watched) -> None:
    watched.memory_mb.append(pss_mb(server.processes()))
    text = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{server.database}'"
    watched.connections.append(int(server.stores.postgres.query("postgres", text)[0][0]))


def summary(counts: Counts, watched: Watched, minutes: float) -> dict[str, object]:
    """Return the document of `bench/soak.json`."""
    memory = watched.memory_mb
    warm = memory[max(1, len(memory) // 5)]
    flat = memory[-1] <= warm * GROWTH_ALLOWED
    return {
        "clients": CLIENTS,
        "minutes": minutes,
        **asdict(counts),
        "memory_mb": {
            "start": round(memory[0]),
            "warm": round(warm),
            "most": round(max(memory)),
            "end": round(memory[-1]),
        },
        "memory_flat": flat,
        "connections": {
            "start": watched.connections[0],
            "most": max(watched.connections),
            "end": watched.connections[-1],
        },
        "ok": flat and not counts.failed and counts.runs > 0,
    }


if __name__ == "__main__":
    sys.exit(main())
