"""Ports of this machine: free ones, taken ones, and who holds them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from provisioner.system import ports

LOOPBACK = "127.0.0.1"


def listening(address: str = LOOPBACK) -> socket.socket:
    return socket.create_server((address, 0))


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(listening()) as server:
        yield int(server.getsockname()[1])


def test_a_port_that_a_server_listens_on_is_taken(taken: int) -> None:
    assert not ports.is_free(LOOPBACK, taken)


def test_a_port_is_free_again_when_its_server_ends() -> None:
    with closing(listening()) as server:
        port = int(server.getsockname()[1])
        # A connection that the server closed first lingers, and must not count.
        client = socket.create_connection((LOOPBACK, port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    assert ports.is_free(LOOPBACK, port)


def test_a_server_on_all_addresses_takes_the_port_of_each() -> None:
    with closing(listening("0.0.0.0")) as server:
        assert not ports.is_free(LOOPBACK, int(server.getsockname()[1]))


def test_the_next_free_port_is_after_the_taken_one(taken: int) -> None:
    found = ports.next_free(LOOPBACK, taken)
    assert found is not None
    assert taken < found < taken + 100


def test_there_is_no_port_after_the_last() -> None:
    assert ports.next_free(LOOPBACK, 65536) is None


def test_there_is_no_next_port_when_all_tries_are_taken(taken: int) -> None:
    assert ports.next_free(LOOPBACK, taken, tries=1) is None


def test_the_holder_of_a_port_is_named_with_its_process(taken: int) -> None:
    assert ports.holder(taken).endswith(f", process {os.getpid()}")


def test_nobody_holds_a_free_port() -> None:
    with closing(listening()) as server:
        port = int(server.getsockname()[1])
    assert ports.holder(port) == ""


FOREIGN = "203.0.113.9"


def test_an_address_is_ours_that_a_server_can_listen_on() -> None:
    assert ports.has_address(LOOPBACK)
    assert ports.has_address("0.0.0.0")
    assert not ports.has_address(FOREIGN)
    assert not ports.has_address("2001:db8::9")


@pytest.mark.parametrize("address", [FOREIGN, "::2"])
@pytest.mark.parametrize("port", [80, 5000])
def test_whoever_has_an_address_that_is_not_ours_is_not_called(
    monkeypatch: pytest.MonkeyPatch, address: str, port: int
) -> None:
    called: list[object] = []

    def answering(*to: object, **_: object) -> socket.socket:
        # As some networks do for every address.
        called.append(to)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", answering)
    assert ports.is_free(address, port)
    assert called == []
