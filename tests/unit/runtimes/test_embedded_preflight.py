"""What the embedded runtime cannot have, said before anything is made."""

from __future__ import annotations

import pytest

from provisioner.errors import PreflightError
from provisioner.model.proxy import default_port
from provisioner.model.settings_text import parse_settings
from provisioner.runtimes.embedded.preflight import check_proxy
from provisioner.runtimes.embedded.service_user import ServiceUser

ACCOUNT = ServiceUser("ana", 1000, 1000)
ACME = "auth: basic, bind: 0.0.0.0, tls: acme, public_url: 'https://ml.example.com'"
INTERNAL = "auth: basic, bind: 0.0.0.0, tls: internal, public_url: 'https://ml.example.com:8443'"


def check(server: str, first_for_all: int) -> None:
    settings = parse_settings(f"server: {{{server}}}\n").server
    check_proxy(settings, settings.port or default_port(settings), ACCOUNT, first_for_all)


@pytest.mark.parametrize(
    ("server", "first_for_all", "ports", "lowest"),
    [
        (ACME, 1024, "ports 80 and 443", 80),
        (ACME, 443, "port 80", 80),
        (f"{ACME}, http_port: 8080", 1024, "port 443", 443),
        (f"{INTERNAL}, http_port: 81", 1024, "port 81", 81),
        ("port: 800", 1024, "port 800", 800),
    ],
)
def test_ports_that_are_for_root_are_named_together_and_opened_by_one_command(
    server: str, first_for_all: int, ports: str, lowest: int
) -> None:
    with pytest.raises(PreflightError) as caught:
        check(server, first_for_all)
    assert f"may not listen on {ports}: the services run as ana" in caught.value.what
    assert caught.value.hint.startswith(f"`sysctl -w net.ipv4.ip_unprivileged_port_start={lowest}` as root")


@pytest.mark.parametrize(("server", "first_for_all"), [(ACME, 80), (ACME, 0), (INTERNAL, 1024), ("", 1024)])
def test_ports_for_all_are_no_matter(server: str, first_for_all: int) -> None:
    check(server, first_for_all)
