"""A proxy that would swallow requests to a server is named exactly when MLflow's client would take it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from provisioner.system.proxies import swallowing_proxy
from tests.support.checks import meanwhile

LOCAL, SHARED = "http://127.0.0.1:5000", "https://ml.example.com"
PROXY = "http://127.0.0.1:9"

TAKEN = {
    "the proxy of the scheme": (LOCAL, {"http_proxy": PROXY}, "http_proxy", "127.0.0.1"),
    "in capitals": (SHARED, {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY", "ml.example.com"),
    "the proxy of all schemes": (SHARED, {"ALL_PROXY": PROXY}, "ALL_PROXY", "ml.example.com"),
    "lower case before capitals": (
        LOCAL,
        {"HTTP_PROXY": "http://other", "http_proxy": PROXY},
        "http_proxy",
        "127.0.0.1",
    ),
    "an exception for another host": (
        LOCAL,
        {"http_proxy": PROXY, "no_proxy": "localhost,example.com"},
        "http_proxy",
        "127.0.0.1",
    ),
    "an exception for a longer name": (
        SHARED,
        {"https_proxy": PROXY, "no_proxy": "a.ml.example.com"},
        "https_proxy",
        "ml.example.com",
    ),
    "an exception for the end of a word": (
        SHARED,
        {"https_proxy": PROXY, "no_proxy": "l.example.org"},
        "https_proxy",
        "ml.example.com",
    ),
    "an exception for another net": (
        LOCAL,
        {"http_proxy": PROXY, "no_proxy": "10.0.0.0/8"},
        "http_proxy",
        "127.0.0.1",
    ),
    "an exception for an address with a port": (
        LOCAL,
        {"http_proxy": PROXY, "no_proxy": "127.0.0.1:5000"},
        "http_proxy",
        "127.0.0.1",
    ),
    "an exception with a star": (
        SHARED,
        {"https_proxy": PROXY, "no_proxy": "*.example.com"},
        "https_proxy",
        "ml.example.com",
    ),
}
NOT_TAKEN = {
    "no proxy": (LOCAL, {}),
    "an empty proxy": (LOCAL, {"http_proxy": ""}),
    "the proxy of the other scheme": (LOCAL, {"https_proxy": PROXY}),
    "an exception for the host": (LOCAL, {"http_proxy": PROXY, "NO_PROXY": "x, 127.0.0.1"}),
    "an exception for name and port": (
        SHARED + ":8443",
        {"https_proxy": PROXY, "no_proxy": "ml.example.com:8443"},
    ),
    "an exception for the net": (LOCAL, {"http_proxy": PROXY, "no_proxy": "127.0.0.0/8"}),
    "an exception for the domain": (SHARED, {"https_proxy": PROXY, "no_proxy": "example.com"}),
    "an exception with a dot": (SHARED, {"https_proxy": PROXY, "no_proxy": ".example.com"}),
    "an exception for everything": (SHARED, {"https_proxy": PROXY, "no_proxy": "*"}),
    "an exception in capitals": (SHARED, {"https_proxy": PROXY, "no_proxy": "ML.Example.COM"}),
}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return monkeypatch


def put(shell: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        shell.setenv(name, value)


@pytest.mark.parametrize("case", TAKEN)
def test_a_proxy_that_takes_the_requests_is_named_with_what_to_set(
    case: str, shell: pytest.MonkeyPatch
) -> None:
    uri, variables, variable, host = TAKEN[case]
    put(shell, variables)
    exceptions = "no_proxy" if "no_proxy" in variables else "NO_PROXY"
    cause = f"{variable} sends requests for {host} to 127.0.0.1:9, which gives no answer"
    assert swallowing_proxy(uri) == (cause, f"add {host} to {exceptions}")


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_a_proxy_that_does_not_take_them_is_not_named(case: str, shell: pytest.MonkeyPatch) -> None:
    uri, variables = NOT_TAKEN[case]
    put(shell, variables)
    assert swallowing_proxy(uri) is None


def test_the_login_of_a_proxy_is_not_shown(shell: pytest.MonkeyPatch) -> None:
    put(shell, {"http_proxy": "http://ana:hunter2@127.0.0.1:9"})
    said = str(swallowing_proxy(LOCAL))
    assert "127.0.0.1:9" in said
    assert "hunter2" not in said


class Proxy:
    """A proxy that gives each request one answer, and the first lines that it was sent."""

    def __init__(self, status: str) -> None:
        self._answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.seen: list[bytes] = []

    def serve(self, _: threading.Event) -> None:
        with contextlib.suppress(OSError), self._listening:
            while True:
                connection, _ = self._listening.accept()
                with connection:
                    self.seen.append(connection.recv(65536).partition(b"\r\n")[0])
                    connection.sendall(self._answer)

    def end(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy(status: str) -> Iterator[Proxy]:
    serving = Proxy(status)
    with meanwhile(serving.serve):
        try:
            yield serving
        finally:
            serving.end()


HTTP_CASES = [
    (LOCAL, {}),
    (LOCAL, {"no_proxy": "127.0.0.1:5000"}),
    ("http://ml.example.invalid", {"no_proxy": "*.example.invalid"}),
]
HTTP_CASES += [
    (LOCAL, {"no_proxy": "127.0.0.1"}),
    ("http://ml.example.invalid", {"no_proxy": "example.invalid"}),
]


@pytest.mark.parametrize(("uri", "exceptions"), HTTP_CASES)
def test_the_client_itself_goes_where_it_is_said_to(
    uri: str, exceptions: dict[str, str], shell: pytest.MonkeyPatch
) -> None:
    """MLflow's own client, as the arbiter."""
    from mlflow.utils.rest_utils import MlflowHostCreds, http_request

    with proxy("418 teapot") as taking:
        put(shell, {"http_proxy": taking.address, **exceptions})
        with contextlib.suppress(Exception):
            http_request(
                MlflowHostCreds(uri), "/client", "GET", max_retries=0, timeout=5, raise_on_status=False
            )
        assert bool(taking.seen) is (swallowing_proxy(uri) is not None)


def test_a_proxy_that_hands_requests_on_swallows_nothing(shell: pytest.MonkeyPatch) -> None:
    with proxy("200 OK") as handing_on:
        put(shell, {"http_proxy": handing_on.address})
        assert swallowing_proxy("http://ml.example.invalid") is None
        assert handing_on.seen == [b"GET http://ml.example.invalid/health HTTP/1.1"]
