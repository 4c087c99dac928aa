"""The command: `python -m bench` measures everything, prints one table and writes `bench/results.json`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    commands,
    logins,
    many_runs,
    pages,
    reads,
    server_cpu,
    sizes,
    starting,
    transfers,
    whole_stack,
    writes,
)
from bench.contenders import Contenders, open_contenders, say
from bench.report import machine, table, versions, write_results
from bench.stores import start_stores
from tests.support.installed import installed_environment

RESULTS = Path(__file__).parent / "results.json"
# In this order: what needs a contender alone, then what needs more of them settled, the same ones next to
# each other. What makes runs or changes them comes after what reads: who is faster would have more to read.
PARTS: dict[str, Callable[[Contenders], None]] = {
    "size": sizes.measure_size,
    "stack": whole_stack.measure_stack,
    "commands": commands.measure_commands,
    "start": starting.measure_start,
    "memory": starting.measure_memory,
    "log-metric": writes.measure_log_metric,
    "log-batch": writes.measure_log_batch,
    "log-metric-one": writes.measure_log_metric_one,
    "cpu": server_cpu.measure_cpu,
    "log-param": writes.measure_log_param,
    "set-tag": writes.measure_set_tag,
    "search": reads.measure_search,
    "search-few": reads.measure_search_few,
    "get-run": reads.measure_get_run,
    "history": reads.measure_history,
    "history-bulk": reads.measure_history_bulk,
    "create-run": writes.measure_create_run,
    "update-run": writes.measure_update_run,
    "artifact": transfers.measure_artifact,
    "ui": pages.measure_pages,
    "many-runs": many_runs.measure_many_runs,
    "login-user": logins.measure_login_user,
    "login": logins.measure_login,
}


def main() -> int:
    """Measure every part asked for; return 0 when all were measured, whatever the figures are, else 1."""
    options = _options()
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started, facts = time.monotonic(), {"machine": machine()}
    with start_stores(options.runtime) as stores:
        installed = options.installed or installed_environment()
        with open_contenders(
            stores, installed, options.runtime, options.rounds, options.seconds
        ) as contenders:
            failed = _measure(contenders, options.only or list(PARTS))
            summaries = list(contenders.samples.summaries())
            facts["versions"] = versions(contenders)
    say(f"done in {time.monotonic() - started:.0f} s")
    print(table(summaries))
    if not options.only and not failed:
        write_results(options.results, facts, summaries)
    return 1 if failed else 0


def _measure(contenders: Contenders, names: list[str]) -> list[str]:
    """Measure these parts, and say how long each took; return those that failed."""
    failed, took = [], []
    for name in names:
        known, started = set(contenders.samples.rows), time.monotonic()
        try:
            PARTS[name](contenders)
        except Exception as error:  # the other parts are still worth having
            failed.append(name)
            contenders.samples.forget(*(set(contenders.samples.rows) - known))
            say(f"{name} failed: {error}\n{contenders.logs()}")
        took.append(f"{name} {time.monotonic() - started:.0f} s")
        say(f"took: {took[-1]}")
    say(f"the parts took: {', '.join(took)}")
    return failed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=PARTS,
        metavar="NAME",
        help=f"one part; may be repeated: {', '.join(PARTS)}",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody has a turn")
    parser.add_argument("--seconds", type=float, default=3, help="of load in each turn")
    parser.add_argument("--runtime", choices=("embedded", "docker"), default="embedded", help="of ours")
    parser.add_argument(
        "--installed",
        type=Path,
        help="an environment that has `provision`, in place of one with this tree's wheel",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where a whole run is written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
