"""What is measured: the rows, their goals, and how samples become medians, spreads and ratios."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """A bound for the ratio of ours to the reference, or for ours itself."""

    kind: Literal["at most", "at least"]
    bound: float
    of: Literal["ratio", "ours"] = "ratio"

    def is_met(self, ours: float, ratio: float | None) -> bool | None:
        """Return whether the goal is met; None where there is nothing to compare with."""
        value = ours if self.of == "ours" else ratio
        if value is None:
            return None
        return value <= self.bound if self.kind == "at most" else value >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.kind == 'at most' else '>='} {self.bound:g}" + (
            " (ours)" if self.of == "ours" else ""
        )


@dataclass(frozen=True)
class Row:
    """A line of the table: which contenders stand for the reference and for ours, and which beside them."""

    name: str
    unit: str
    goal: Goal | None = None
    reference: str = "reference"
    ours: str = "ours"
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A row with its figures; the ratio is the median of the rounds' ratios.

    Only those compare the same minute.
    """

    row: Row
    medians: dict[str, float]
    spread: dict[str, tuple[float, float]]
    ratio: float | None

    @property
    def met(self) -> bool | None:
        """Return whether the goal is met; None without one, or where there is nothing to compare with."""
        return self.row.goal.is_met(self.medians[self.row.ours], self.ratio) if self.row.goal else None

    def document(self) -> dict[str, object]:
        """Return the row of `results.json`."""
        row = self.row
        return {
            "name": row.name,
            "unit": row.unit,
            "reference": self.medians.get(row.reference),
            "ours": self.medians[row.ours],
            "ratio": self.ratio,
            "spread": {name: list(pair) for name, pair in self.spread.items()},
            "beside": {name: self.medians[name] for name in row.beside if name in self.medians},
            "goal": str(row.goal) if row.goal else None,
            "met": self.met,
        }


@dataclass
class Samples:
    """All figures of a run, by row and contender, in the order of the rounds."""

    rows: dict[str, Row] = field(default_factory=dict)
    values: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, row: Row, contender: str, value: float) -> None:
        """Add one figure."""
        self.rows[row.name] = row
        self.values[row.name][contender].append(value)

    def forget(self, *names: str) -> None:
        """Remove all figures of these rows: half of the rounds would compare different minutes."""
        for name in names:
            del self.rows[name]
            del self.values[name]

    def summaries(self) -> Iterable[Summary]:
        """Yield the summary of every row that has a figure of ours."""
        for name, row in self.rows.items():
            values = self.values[name]
            if values[row.ours]:
                medians = {
                    contender: statistics.median(found) for contender, found in values.items() if found
                }
                spread = {contender: (min(found), max(found)) for contender, found in values.items() if found}
                yield Summary(row, medians, spread, _ratio(values[row.ours], values[row.reference]))


def _ratio(ours: list[float], reference: list[float]) -> float | None:
    if not any(reference):
        return None
    if len(ours) == len(reference) and all(reference):
        return statistics.median(a / b for a, b in zip(ours, reference, strict=True))
    # A server that answered nothing in one round: that round has no ratio.
    return statistics.median(ours) / (statistics.median(reference) or max(reference))
