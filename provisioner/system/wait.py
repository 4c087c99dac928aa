"""The one loop that waits: it looks, sleeps and looks again, until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(look: Callable[[], T | None], seconds: float, interval: float) -> T | None:
    """Call `look` until it returns something, and return that; None after so many seconds without.

    It looks once at the least, and once more at the deadline; `interval` is in seconds. What it raises ends
    the wait.
    """
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(interval, left))
    return found


def wait_until(condition: Callable[[], bool], seconds: float, interval: float) -> bool:
    """Ask until the condition is true; return whether it was within that many seconds."""
    return wait_for(lambda: condition() or None, seconds, interval) is not None
