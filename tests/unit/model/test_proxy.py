"""Who may reach the proxy and where TLS is terminated: each contradiction is said, at once, with its line."""

from __future__ import annotations

import pytest

from provisioner.errors import SettingsError
from provisioner.model import proxy
from provisioner.model.settings_text import parse_settings

PUBLIC = "  auth: basic\n  public_url: https://mlflow.example.com\n"


def faults(text: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        parse_settings(text)
    return sorted(str(fault) for fault in refused.value.all())


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.7"])
def test_another_address_than_loopback_needs_a_login_and_tls(bind: str) -> None:
    seen = faults(f"server:\n  port: 5000\n  bind: '{bind}'\n")
    assert len(seen) == 2
    assert all(
        text.startswith("provision.yml:3 server.bind: opens the server to the network") for text in seen
    )
    assert "auth: basic" in seen[1]
    assert "external" in seen[0]


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1", "127.8.8.8"])
def test_loopback_needs_neither(bind: str) -> None:
    assert parse_settings(f"server:\n  bind: '{bind}'\n").server.bind == bind


def test_all_faults_are_said_at_once_with_those_of_other_groups() -> None:
    seen = faults("name: NO\nserver:\n  bind: 0.0.0.0\n  tls: external\n  tls_key: key.pem\n")
    assert [text.partition(" ")[0] for text in seen] == [f"provision.yml:{line}" for line in (1, 3, 4, 4, 5)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  tls: internal\n", "tls: needs public_url"),
        (
            "  tls: acme\n  auth: basic\n  public_url: https://192.0.2.7\n",
            "public_url: must have a name that the ACME server can reach",
        ),
        (
            "  tls: acme\n  public_url: https://localhost\n",
            "public_url: must have a name that the ACME server can reach",
        ),
        (
            "  tls: internal\n  auth: basic\n  public_url: http://mlflow.lan\n",
            "public_url: must start with https://",
        ),
        (
            "  tls: internal\n  public_url: http://localhost\n",
            "public_url: must start with https://, since tls is set",
        ),
        (
            "  tls: acme\n  auth: basic\n  public_url: https://mlflow.example.com:8443\n",
            "tls: acme needs port 443 in public_url",
        ),
        (f"  tls: files\n  tls_key: key.pem\n{PUBLIC}", "tls: files needs tls_certificate"),
        (f"  tls: external\n{PUBLIC}", "tls: external needs trusted_proxies"),
        (
            f"  tls: internal\n  allowed_hosts: [a.lan]\n{PUBLIC}",
            "allowed_hosts: goes with a proxy without TLS",
        ),
        ("  allowed_hosts: ['*.lan']\n", "allowed_hosts: must be names or addresses without a port"),
        ("  allowed_hosts: ['a.lan:5000']\n", "allowed_hosts: must be names or addresses without a port"),
        (
            f"  tls: internal\n  trusted_proxies: [192.0.2.1]\n{PUBLIC}",
            "trusted_proxies: goes with tls: external",
        ),
        (f"  tls: internal\n  acme_email: a@example.com\n{PUBLIC}", "acme_email: goes with tls: acme"),
        (f"  tls: acme\n  acme_ca_file: ca.pem\n{PUBLIC}", "acme_ca_file: goes with tls: acme and acme_ca"),
        (f"  http_port: 80\n{PUBLIC}", "http_port: goes with tls: acme, internal or files"),
        (f"  tls: internal\n  http_port: 443\n{PUBLIC}", "http_port: is the port of TLS too"),
        (
            f"  tls: external\n  trusted_proxies: [proxy.lan]\n{PUBLIC}",
            "trusted_proxies: must be addresses or networks",
        ),
        (f"  tls: acme\n  acme_ca: http://ca.example.com\n{PUBLIC}", "acme_ca: must be an https:// address"),
        (
            f"  tls: acme\n  acme_ca: 'https://ca.example.com/{{env.HOME}}'\n{PUBLIC}",
            "acme_ca: must be an https:// address",
        ),
        ("  public_url: 'https://mlflow.example.com{'\n", "public_url: must be an address such as"),
        ("  public_url: https://mlflow.example.com:99999\n", "public_url: Port out of range"),
        ("  bind: fe80::1%eth0\n", "bind: must be an IP address"),
    ],
)
def test_a_contradiction_is_said(text: str, said: str) -> None:
    (seen,) = faults(f"server:\n{text}")
    assert f"server.{said}" in seen


@pytest.mark.parametrize(
    ("text", "port", "redirect"),
    [
        ("tls: internal\n  public_url: https://mlflow.lan", 443, 80),
        ("tls: acme\n  public_url: https://mlflow.example.com", 443, 80),
        ("tls: internal\n  public_url: https://192.0.2.7:8443", 8443, None),
        ("tls: internal\n  public_url: https://mlflow.lan:8443\n  http_port: 8080", 8443, 8080),
        (
            "tls: external\n  trusted_proxies: [192.0.2.1]\n  public_url: https://mlflow.example.com",
            5000,
            None,
        ),
        ("public_url: https://mlflow.example.com", 5000, None),
    ],
)
def test_ports_follow_the_address_that_people_type(text: str, port: int, redirect: int | None) -> None:
    server = parse_settings(f"server:\n  auth: basic\n  {text}\n").server
    assert proxy.default_port(server) == port
    assert proxy.redirect_port(server, port) == redirect


def test_plain_http_behind_a_proxy_of_the_same_machine_still_works() -> None:
    assert parse_settings(f"server:\n{PUBLIC}").server.tls is None


@pytest.mark.parametrize("name", ["mlflow.example.com", "a.b.co"])
def test_public_names(name: str) -> None:
    assert proxy.is_public_name(name)


@pytest.mark.parametrize(
    "name", ["mlflow", "mlflow.lan", "mlflow.local", "box.home.arpa", "192.0.2.7", "fd00::1", "a.internal"]
)
def test_names_that_are_not_public(name: str) -> None:
    assert not proxy.is_public_name(name)


def test_this_machine_reaches_what_listens_everywhere_by_loopback() -> None:
    assert [proxy.local_address(bind) for bind in ("0.0.0.0", "::", "192.0.2.7", "::1")] == [
        "127.0.0.1",
        "[::1]",
        "192.0.2.7",
        "[::1]",
    ]
