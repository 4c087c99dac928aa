"""The port that `render` writes for who starts a stack without us: one that is free, and stays."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from provisioner.actions.render import render
from provisioner.model.proxy import DEFAULT_PORT
from provisioner.output import Recorder
from provisioner.stack.find import read_stack
from provisioner.system.host import LocalHost


@pytest.fixture(autouse=True)
def _taken() -> Iterator[None]:
    """The default port is taken, by us or by whoever has it."""
    with closing(socket.socket()) as holder:
        with suppress(OSError):
            holder.bind(("127.0.0.1", DEFAULT_PORT))
            holder.listen()
        yield


def rendered(directory: Path) -> tuple[int, list[tuple[str, str]]]:
    """The port in the rendered files, and what was said."""
    said = Recorder()
    render(directory, None, False, said)
    lines = (directory / ".env").read_text().splitlines()
    (port,) = (int(line.partition("=")[2]) for line in lines if line.startswith("PROVISION_PORT="))
    return port, [(step.verb, step.subject) for step in said.steps]


def test_a_taken_default_port_is_not_rendered_and_the_next_one_stays(tmp_path: Path) -> None:
    port, said = rendered(tmp_path)
    assert port > DEFAULT_PORT
    assert ("chosen", "port") in said
    assert read_stack(tmp_path, "", LocalHost()).port == port, "`up` goes on with it"
    with closing(socket.socket()) as holder:
        with suppress(OSError):
            # By the stack itself, for one; or by whoever had it first.
            holder.bind(("127.0.0.1", port))
            holder.listen()
        assert rendered(tmp_path) == (port, [])


def test_a_port_that_the_user_named_is_rendered_whoever_has_it(tmp_path: Path) -> None:
    (tmp_path / "provision.yml").write_text(f"server:\n  port: {DEFAULT_PORT}\n")
    assert rendered(tmp_path)[0] == DEFAULT_PORT
