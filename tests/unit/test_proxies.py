"""Proxy variables that would swallow requests to a server are named, others are not."""

from __future__ import annotations

import pytest

from provisioner.system.proxies import swallowing_proxy

LOCAL, SHARED = "http://127.0.0.1:5000", "https://ml.example.com"
PROXY = "http://proxy.example.com:3128"

TAKEN = {
    "the proxy of the scheme": (LOCAL, {"http_proxy": PROXY}, "http_proxy", "127.0.0.1"),
    "in capitals": (SHARED, {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY", "ml.example.com"),
    "the proxy of all schemes": (SHARED, {"ALL_PROXY": PROXY}, "ALL_PROXY", "ml.example.com"),
    "lower case before capitals": (LOCAL, {"HTTP_PROXY": "http://other", "http_proxy": PROXY}, "http_proxy", "127.0.0.1"),
    "an exception for another host": (LOCAL, {"http_proxy": PROXY, "no_proxy": "localhost,example.com"}, "http_proxy", "127.0.0.1"),
    "an exception for a longer name": (SHARED, {"https_proxy": PROXY, "no_proxy": "a.ml.example.com"}, "https_proxy", "ml.example.com"),
    "an exception for the end of a word": (SHARED, {"https_proxy": PROXY, "no_proxy": "l.example.com"}, "https_proxy", "ml.example.com"),
    "an exception for another net": (LOCAL, {"http_proxy": PROXY, "no_proxy": "10.0.0.0/8"}, "http_proxy", "127.0.0.1"),
}
NOT_TAKEN = {
    "no proxy": (LOCAL, {}),
    "an empty proxy": (LOCAL, {"http_proxy": ""}),
    "the proxy of the other scheme": (LOCAL, {"https_proxy": PROXY}),
    "an exception for the host": (LOCAL, {"http_proxy": PROXY, "NO_PROXY": "x, 127.0.0.1"}),
    "an exception for host and port": (LOCAL, {"http_proxy": PROXY, "no_proxy": "127.0.0.1:5000"}),
    "an exception for the net": (LOCAL, {"http_proxy": PROXY, "no_proxy": "127.0.0.0/8"}),
    "an exception for the domain": (SHARED, {"https_proxy": PROXY, "no_proxy": "example.com"}),
    "an exception with a dot": (SHARED, {"https_proxy": PROXY, "no_proxy": ".example.com"}),
    "an exception with a star": (SHARED, {"https_proxy": PROXY, "no_proxy": "*.example.com"}),
    "an exception for everything": (SHARED, {"https_proxy": PROXY, "no_proxy": "*"}),
    "an exception in capitals": (SHARED, {"https_proxy": PROXY, "no_proxy": "ML.Example.COM"}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_proxy_that_takes_the_requests_is_named_with_what_to_set(case: str) -> None:
    uri, environ, variable, host = TAKEN[case]
    exceptions = "no_proxy" if "no_proxy" in environ else "NO_PROXY"
    expected = f"{variable} sends requests for {host} to proxy.example.com:3128; add {host} to {exceptions}"
    assert swallowing_proxy(uri, environ) == expected


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_a_proxy_that_does_not_take_them_is_not_named(case: str) -> None:
    uri, environ = NOT_TAKEN[case]
    assert swallowing_proxy(uri, environ) == ""


def test_the_login_of_a_proxy_is_not_shown() -> None:
    said = swallowing_proxy(LOCAL, {"http_proxy": "http://ana:hunter2@proxy.example.com:3128"})
    assert "proxy.example.com:3128" in said
    assert "hunter2" not in said
