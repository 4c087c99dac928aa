"""What a stack is made with: a release of this program, and the MLflow that it locks."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """A release of this program, with the version of MLflow that its stacks run."""

    provision: str
    mlflow: str

    def __str__(self) -> str:
        return f"provision {self.provision} with MLflow {self.mlflow}"

    def is_newer_than(self, other: Release) -> bool:
        """Return whether it is the newer one: by the program's version first, then by MLflow's."""
        return self._order > other._order

    @property
    def _order(self) -> tuple[list[int], list[int]]:
        return _numbers(self.provision), _numbers(self.mlflow)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
