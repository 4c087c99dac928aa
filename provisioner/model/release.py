"""What a stack is made with: a release of this program, and the MLflow that it locks."""

from __future__ import annotations

import re
from dataclasses import dataclass

# A version of Python's packages, as far as it has to do with which one is newer.
_VERSION = re.compile(
    r"v?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[._-]?(?P<pre>a|b|rc)[._-]?(?P<number>[0-9]*))?"
    r"(?:[._-]?post[._-]?(?P<post>[0-9]*))?"
    r"(?:[._-]?dev[._-]?(?P<dev>[0-9]*))?"
)


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
    def _order(self) -> tuple[object, object]:
        return _order(self.provision), _order(self.mlflow)


def _order(version: str) -> tuple[object, ...]:
    """Return what a version is sorted by: `dev`, then `a`, `b` and `rc` come before the release."""
    found = _VERSION.match(version)
    if found is None:
        return ()
    numbers = [int(number) for number in found["release"].split(".")]
    while numbers and numbers[-1] == 0:
        # 1.0 is 1.0.0.
        numbers.pop()
    pre, post, dev = found["pre"], found["post"], found["dev"]
    phase = pre or ("" if dev is not None and post is None else "released")
    late = -1 if post is None else int(post or 0)
    unfinished = (1, 0) if dev is None else (0, int(dev or 0))
    return numbers, phase, int(found["number"] or 0), late, unfinished
