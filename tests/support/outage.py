"""What a client sees that asks four times a second and repeats nothing.

Which calls were refused, which failed, how long one took.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.checks import API, meanwhile, run_logged

RATE = 4.0


@dataclass
class Outage:
    """The calls so far."""

    answered: int = 0
    refused: list[str] = field(default_factory=list)
    """Calls that found nobody."""
    failed: list[str] = field(default_factory=list)
    """Calls that found somebody, and got no answer or none that is good."""
    longest: float = 0
    """Seconds that the slowest of all took."""

    def __str__(self) -> str:
        return (
            f"{self.answered} answered, {len(self.refused)} refused, {len(self.failed)} failed, "
            f"longest {self.longest:.1f} s"
        )


@contextmanager
def raw_client(uri: str) -> Iterator[Outage]:
    """A client that writes and reads meanwhile, each call on its own connection, whatever came before."""
    run, address = run_logged(uri, "outage").run, urlsplit(uri).netloc
    calls: list[tuple[str, str, dict[str, object] | None]] = [
        ("POST", f"{API}/runs/set-tag", {"run_id": run, "value": "x"}),
        ("GET", f"{API}/artifacts/list?run_id={run}", None),
        (
            "POST",
            f"{API}/runs/log-metric",
            {"run_id": run, "key": "outage", "value": 1.0, "timestamp": 1, "step": 1},
        ),
        ("GET", "/api/3.0/mlflow/server-info", None),
    ]
    seen, threads = Outage(), []

    def call(number: int) -> None:
        method, path, body = calls[number % len(calls)]
        if path.endswith("set-tag"):
            # Of two at once that give one tag its first value, MLflow refuses one.
            body = {**(body or {}), "key": f"outage-{number}"}
        started = time.monotonic()
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            content = json.dumps(body) if body else None
            connection.request(method, path, content, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status == 200:
                seen.answered += 1
            else:
                seen.failed.append(f"{method} {path}: {reply.status} {text[:200]!r}")
        except ConnectionRefusedError:
            seen.refused.append(f"{method} {path}")
        except OSError as error:
            seen.failed.append(f"{method} {path}: {error!r}")
        finally:
            connection.close()
        seen.longest = max(seen.longest, time.monotonic() - started)

    def ask(done: threading.Event) -> None:
        number = 0
        while not done.wait(1 / RATE):
            threads.append(threading.Thread(target=call, args=(number,), daemon=True))
            threads[-1].start()
            number += 1

    try:
        with meanwhile(ask):
            yield seen
    finally:
        for thread in threads:
            thread.join(70)
