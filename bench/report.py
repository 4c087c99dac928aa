"""The figures as a table for people, and as `results.json`."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from bench.contenders import Contenders
from bench.rows import Summary
from provisioner import __version__
from provisioner.assets import mlflow_version

HEAD = ("what", "unit", "reference", "ours", "ratio", "goal", "met", "beside")


def table(summaries: Iterable[Summary]) -> str:
    """Return a Markdown table with columns of even width."""
    lines = [HEAD, *(_cells(summary) for summary in summaries)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    return "\n".join([text[0], "| " + " | ".join("-" * width for width in widths) + " |", *text[1:]])


def _cells(summary: Summary) -> tuple[str, ...]:
    row = summary.row
    beside = ", ".join(
        f"{name} {_with_spread(summary, name)}" for name in row.beside if name in summary.medians
    )
    return (
        row.name,
        row.unit,
        _with_spread(summary, row.reference) if row.reference in summary.medians else "-",
        _with_spread(summary, row.ours),
        "-" if summary.ratio is None else _number(summary.ratio),
        str(row.goal or "-"),
        {True: "yes", False: "no", None: "-"}[summary.met],
        beside,
    )


def _with_spread(summary: Summary, contender: str) -> str:
    least, most = summary.spread[contender]
    text = _number(summary.medians[contender])
    return text if least == most else f"{text} ({_number(least)}-{_number(most)})"


def _number(value: float) -> str:
    """Format the number with three significant digits, from 100 on as an integer."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, without the machine's name."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_at_start": round(psutil.getloadavg()[0], 2),
    }


def versions(contenders: Contenders) -> dict[str, str]:
    """Return the versions of what was measured, and the runtime."""
    postgres = contenders.stores.postgres.query("postgres", "SHOW server_version")[0][0]
    python = contenders.stores.environment.interpreter.version
    return {
        "provision": __version__,
        "mlflow": mlflow_version(),
        "python": python,
        "postgres": str(postgres),
        "runtime": contenders.runtime,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def write_results(path: Path, facts: dict[str, Any], summaries: Iterable[Summary]) -> None:
    """Write the whole run to the path as JSON."""
    document = {
        **facts,
        "measured": time.strftime("%Y-%m-%d"),
        "rows": [summary.document() for summary in summaries],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
