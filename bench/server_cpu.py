"""The row about CPU: what the server's own processes spend for a log-metric."""

from __future__ import annotations

from bench.asking import Asked, ask_for, in_turns
from bench.contenders import OURS, REFERENCE, Contenders
from bench.cpu import seconds_between, spent
from bench.rows import Goal, Row
from bench.writes import logging_metric

CPU = Row("CPU of the server's processes for a log-metric, no login", "ms", Goal("at most", 1.2, "ours"))


def measure_cpu(contenders: Contenders) -> None:
    """Measure the CPU for each answered log-metric; neither the proxy nor PostgreSQL is counted."""

    def milliseconds(name: str, asked: Asked) -> float:
        processes = contenders.server_processes(name)
        before = spent(processes)
        load = ask_for(contenders, name, asked, contenders.seconds)
        return seconds_between(before, spent(processes)) * 1_000 / load.requests

    in_turns(contenders, CPU, (REFERENCE, OURS), lambda name: logging_metric(contenders, name), milliseconds)
