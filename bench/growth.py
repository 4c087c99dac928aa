"""`python -m bench.growth`: rates with 10 to 100,000 runs stored, reference beside ours, as a picture."""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench.asking import WARM_UP_SECONDS, Asked, ask_for
from bench.contenders import OURS, REFERENCE, Contenders, open_contenders, say
from bench.reads import getting, searching
from bench.stores import start_stores
from bench.writes import logging_metric
from tests.support.installed import installed_environment

PICTURE = Path(__file__).parent.parent / "docs/growth.png"
COUNTS = (10, 1_000, 100_000)
# A search of many runs takes seconds, and the load has to see some end.
SEARCH_SECONDS = 12
ROWS: dict[str, Callable[[Contenders, str, int], Asked]] = {
    "log-metric": lambda contenders, name, count: logging_metric(contenders, name),
    "search, first page of 100": searching,
    "get run": getting,
}
COLOURS = {REFERENCE: "#888888", OURS: "#0b6fb8"}

# By row, contender and number of runs.
Rates = dict[str, dict[str, dict[int, float]]]


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--installed", type=Path, help="as for `python -m bench`")
    options = parser.parse_args()
    with start_stores() as stores:
        installed = options.installed or installed_environment()
        with open_contenders(stores, installed, "embedded", options.rounds, options.seconds) as contenders:
            rates = measure(contenders)
    print(as_table(rates))
    draw(rates, PICTURE)


def measure(contenders: Contenders) -> Rates:
    """Measure in interleaved rounds; return the medians."""
    rates: Rates = defaultdict(lambda: defaultdict(dict))
    names = (REFERENCE, OURS)
    contenders.only(*names)
    contenders.settle()
    for count in COUNTS:
        for row, ask in ROWS.items():
            # The runs are loaded before anything is measured at this size.
            asked = {
                name: (searching(contenders, name, count), ask(contenders, name, count))[1] for name in names
            }
            found: dict[str, list[float]] = defaultdict(list)
            seconds = SEARCH_SECONDS if ask is searching else contenders.seconds
            for name in names:
                ask_for(contenders, name, asked[name], WARM_UP_SECONDS, may_be_silent=True)
            for turn in range(contenders.rounds):
                for name in contenders.order(names, turn):
                    found[name].append(ask_for(contenders, name, asked[name], seconds).rate)
            for name in names:
                rates[row][name][count] = statistics.median(found[name])
                say(f"{row}, {count:,} runs: {name} {rates[row][name][count]:.1f} requests/s")
    return rates


def as_table(rates: Rates) -> str:
    """Return a Markdown table with one line for each row and number of runs."""
    lines = ["| what | runs | reference | ours | ratio |", "| --- | --- | --- | --- | --- |"]
    for row, by_name in rates.items():
        for count in COUNTS:
            reference, ours = by_name[REFERENCE][count], by_name[OURS][count]
            lines.append(f"| {row} | {count:,} | {reference:.1f} | {ours:.1f} | {ours / reference:.2f} |")
    return "\n".join(lines)


def draw(rates: Rates, path: Path) -> None:
    """Draw the picture, one panel for each row, and write it to the path."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(rates), figsize=(11, 3.4), layout="constrained")
    for panel, (row, by_name) in zip(panels, rates.items(), strict=True):
        for name, by_count in by_name.items():
            panel.plot(list(by_count), list(by_count.values()), marker="o", color=COLOURS[name], label=name)
        panel.set(xscale="log", ylim=(0, None), title=row, xlabel="runs in the database", ylabel="requests/s")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
