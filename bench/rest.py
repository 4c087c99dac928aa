"""MLflow's REST API over one HTTP call each."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

API = "/api/2.0/mlflow"
# Where MLflow's page asks.
AJAX_API = "/ajax-api/2.0/mlflow"
QUESTION = f"{API}/experiments/search?max_results=1"


def basic_authorization(user: str, password: str) -> str:
    """Return the value of the Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass(frozen=True)
class Api:
    """A server's API; `authorization` is the header's value, or empty; `ca` a private certificate's root."""

    url: str
    authorization: str = ""
    ca: Path | None = None

    def get(self, path: str) -> Any:
        """Return the answer to a GET below the API."""
        return self._call("GET", f"{API}/{path}", None)

    def ajax(self, path: str) -> Any:
        """Return the answer to a GET below what MLflow's page asks."""
        return self._call("GET", f"{AJAX_API}/{path}", None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer to a POST below the API."""
        return self._call("POST", f"{API}/{path}", json.dumps(body).encode())

    def wait(self, deadline: float, check: Callable[[], object]) -> None:
        """Wait for the first good answer to a real question.

        Raise RuntimeError at the deadline (monotonic clock), or what `check` raises.
        """
        seen: object = "nothing"
        while time.monotonic() < deadline:
            check()
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, body = self._exchange("GET", QUESTION, None)
                if status == 200 and json.loads(body)["experiments"]:
                    return
                seen = (status, body[:200])
            time.sleep(0.02)
        raise RuntimeError(f"{self.url} did not answer in time; last seen: {seen}")

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        status, answer = self._exchange(method, path, body)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return json.loads(answer)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": self.authorization} if self.authorization else {}
        )
        with contextlib.closing(self._connection()) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def _connection(self) -> http.client.HTTPConnection:
        place = urlsplit(self.url)
        if place.scheme == "http":
            return http.client.HTTPConnection(place.netloc, timeout=60)
        return http.client.HTTPSConnection(
            place.netloc, timeout=60, context=ssl.create_default_context(cafile=self.ca)
        )
