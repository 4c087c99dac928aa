"""Where a stack's proxy is to listen: an address that its machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import PreflightError
from provisioner.model.plan import Observed
from provisioner.model.settings_text import parse_settings
from provisioner.model.state import State
from provisioner.output import Recorder
from provisioner.stack.context import StackContext
from provisioner.stack.port_choice import decide_port
from provisioner.system.host import LocalHost
from tests.support.ports import free_port

FOREIGN = "203.0.113.9"


class Elsewhere(LocalHost):
    """Another machine, with that address alone."""

    name = "ana@there"
    is_remote = True

    def __init__(self, address: str) -> None:
        self._address = address

    def has_address(self, address: str) -> bool:
        return address == self._address


def port_of(directory: Path, bind: str, host: LocalHost) -> tuple[int, int]:
    """The port that is decided, and the one that the settings name."""
    port = free_port()
    text = (
        f"server: {{bind: '{bind}', port: {port}, auth: basic, tls: internal, "
        "public_url: 'https://ml.example.com:8443'}\n"
    )
    context = StackContext(directory, "", host, parse_settings(text), State())
    return decide_port(context, Observed({}), (), Recorder()), port


@pytest.mark.parametrize(
    ("host", "bind", "machine"),
    [
        (LocalHost(), FOREIGN, "this machine"),
        (LocalHost(), "2001:db8::9", "this machine"),
        (Elsewhere("192.0.2.7"), "127.0.0.1", "ana@there"),
    ],
    ids=["here", "here, IPv6", "there"],
)
def test_an_address_that_the_machine_does_not_have_is_named(
    tmp_path: Path, host: LocalHost, bind: str, machine: str
) -> None:
    with pytest.raises(PreflightError) as caught:
        port_of(tmp_path, bind, host)
    assert caught.value.what == f"{bind} is no address of {machine}"
    assert caught.value.where == "server.bind in provision.yml"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("host", "bind"),
    [(LocalHost(), "127.0.0.2"), (LocalHost(), "0.0.0.0"), (Elsewhere(FOREIGN), FOREIGN)],
    ids=["loopback", "all", "there"],
)
def test_one_that_it_has_is_taken(tmp_path: Path, host: LocalHost, bind: str) -> None:
    decided, named = port_of(tmp_path, bind, host)
    assert decided == named
