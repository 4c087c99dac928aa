"""The port that `render` writes for who starts a stack without us: one that is free, and stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.actions.render import render
from provisioner.model import proxy
from provisioner.output import Recorder
from provisioner.stack import port_choice
from provisioner.stack.find import read_stack
from provisioner.system.host import LocalHost
from tests.support.ports import free_port, held


@pytest.fixture(autouse=True)
def default_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The default port, which somebody has; one of this test's own, since others use the real one."""
    port = free_port()
    for module in (proxy, port_choice):
        monkeypatch.setattr(module, "DEFAULT_PORT", port)
    with held(port):
        yield port


def rendered(directory: Path) -> tuple[int, list[tuple[str, str]]]:
    """The port in the rendered files, and what was said."""
    said = Recorder()
    render(directory, False, said)
    lines = (directory / ".env").read_text().splitlines()
    (port,) = (int(line.partition("=")[2]) for line in lines if line.startswith("PROVISION_PORT="))
    return port, [(step.verb, step.subject) for step in said.steps]


def test_a_taken_default_port_is_not_rendered_and_the_next_stays(tmp_path: Path, default_port: int) -> None:
    port, said = rendered(tmp_path)
    assert port > default_port
    assert ("chosen", "port") in said
    assert read_stack(tmp_path, "", LocalHost()).port == port, "`up` goes on with it"
    with held(port):  # by the stack itself, for one
        assert rendered(tmp_path) == (port, [])


def test_a_port_that_the_user_named_is_rendered_whoever_has_it(tmp_path: Path, default_port: int) -> None:
    (tmp_path / "provision.yml").write_text(f"server:\n  port: {default_port}\n")
    assert rendered(tmp_path)[0] == default_port
