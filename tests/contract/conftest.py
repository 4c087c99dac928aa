"""The hosts that the contract of `Host` is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.system.host import Host, LocalHost
from provisioner.system.ssh import SSHHost
from tests.support.sshd import SERVER, Client, local_sshd

# An implementation is made by one expression, which a second process can evaluate too.
HOSTS = {"local": "LocalHost()", "ssh": "SSHHost('there')"}
NAMES = {"LocalHost": LocalHost, "SSHHost": SSHHost, "Path": Path}


@pytest.fixture(scope="module")
def sshd() -> Iterator[Client]:
    """A real SSH server at this machine."""
    if SERVER is None:
        pytest.skip("sshd is not installed")
    with local_sshd() as client:
        yield client


@pytest.fixture(params=HOSTS)
def made_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "ssh":
        monkeypatch.setenv("PATH", request.getfixturevalue("sshd").path)
    return HOSTS[request.param]


@pytest.fixture
def host(made_by: str) -> Iterator[Host]:
    made: Host = eval(made_by, dict(NAMES))  # noqa: S307  one of the table above
    yield made
    if isinstance(made, SSHHost):
        made.connection.close()
