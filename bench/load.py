"""Requests per second, by wrk; every answer must be good, and what was written must be in the database."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.rest import Api

SCRIPTS = Path(__file__).parent / "wrk"
CONNECTIONS = 16
THREADS = 2
# Enough that 16 connections rarely meet on the same row of the newest values.
RUNS = 64


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    requests: int
    seconds: float
    status_errors: int
    socket_errors: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Return the requests per second."""
        return self.requests / self.seconds


def run_wrk(
    api: Api,
    script: str,
    arguments: list[str],
    seconds: float,
    *,
    connections: int = CONNECTIONS,
    may_be_silent: bool = False,
) -> Load:
    """Run wrk and return what it saw.

    Raise RuntimeError when an answer was not good, a connection failed or, unless `may_be_silent`, none came.
    """
    argv = ["wrk", "--threads", str(min(THREADS, connections)), "--connections", str(connections)]
    argv += ["--duration", f"{max(1, round(seconds))}s"]
    # A request in the reference's first minute may take longer than wrk's 2 seconds.
    argv += ["--timeout", "30s", "--script", str(SCRIPTS / script), api.url, "--", *arguments]
    # The login travels in the environment: command lines are for everybody to see.
    env = {**os.environ, "BENCH_AUTHORIZATION": api.authorization, "LUA_PATH": f"{SCRIPTS}/?.lua;;"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=seconds + 60)
    result = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    load = Load(**json.loads(result.removeprefix("RESULT ")))
    if load.status_errors or load.socket_errors or not (load.requests or may_be_silent):
        raise RuntimeError(f"{script} at {api.url}: {load}\n{done.stdout}")
    return load


def make_runs(api: Api) -> list[str]:
    """Make new runs to log to; return their ids."""
    name = f"load-{time.time_ns()}"
    experiment = api.post("experiments/create", {"name": name})["experiment_id"]
    now = time.time_ns() // 1_000_000
    made = [api.post("runs/create", {"experiment_id": experiment, "start_time": now}) for _ in range(RUNS)]
    return [run["run"]["info"]["run_id"] for run in made]


def first_number() -> int:
    """Return a number, for steps and names, that no earlier load of this database has reached."""
    return time.time_ns() // 1_000_000
