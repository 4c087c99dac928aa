"""A port that somebody else holds."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import new_stack
from tests.support.checks import Tracking, containers, eventually, nothing_changed, refused
from tests.support.installed import Answer, Program
from tests.support.ports import free_port, held


def test_the_next_free_port_is_taken_in_place_of_the_default_and_kept(fresh: Program) -> None:
    with held(5000):
        first = fresh.up("--no-link")
    (detail,) = [step["detail"] for step in first.data["steps"] if step["verb"] == "chosen"]
    port = int(detail.partition(",")[0])
    assert port > 5000
    assert "since 5000 is taken by" in detail
    assert "process" in detail
    assert first.data["tracking_uri"] == f"http://127.0.0.1:{port}"
    assert all(check["ok"] for check in first.data["checks"])
    second = fresh.up("--no-link")
    assert second.data["tracking_uri"] == first.data["tracking_uri"]
    assert [step["verb"] for step in second.data["steps"]] == ["unchanged"]


def test_a_port_that_somebody_took_before_the_first_start_was_done_is_replaced(fresh: Program) -> None:
    """Two stacks that are made at once may choose the same port."""
    with held(5000):
        planned = fresh("up", "--runtime", fresh.runtime, "--no-link", "--dry-run").data["tracking_uri"]
        port = int(planned.rpartition(":")[2])
        remembered = {"format": 1, "project": "mlflow-000000", "runtime": fresh.runtime, "port": port}
        (fresh.stack / "state.json").write_text(json.dumps(remembered))
        with held(port):
            answer = fresh("up", "--no-link", "--dry-run")
    assert answer.code == 0, answer.document
    assert int(answer.data["tracking_uri"].rpartition(":")[2]) > port
    assert f"since {port} is taken by" in json.dumps(answer.document)
    (fresh.stack / "state.json").unlink()


def test_a_port_that_the_user_named_is_not_replaced_and_nothing_is_started(fresh: Program) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        fresh.settings(f"server:\n  port: {port}\n")
        with nothing_changed(fresh.stack):
            answer = fresh("up", "--runtime", fresh.runtime, "--no-link")
        error = refused(answer, 4, f"port {port}", "server.port", f"process {os.getpid()}")
    assert error["left_as"] == "nothing was changed"
    if fresh.runtime == "docker":
        assert containers(fresh.stack) == []


def test_a_port_that_is_taken_after_it_was_chosen_is_chosen_anew(fresh: Program) -> None:
    """While an image is built and the stores start, minutes may pass before the proxy listens."""
    process = fresh.start("up", "--runtime", fresh.runtime, "--no-link")
    state = fresh.stack / "state.json"
    chosen = eventually(lambda: state.exists() and json.loads(state.read_text())["port"], 60, "a port", 0.01)
    with held(chosen):
        answer = fresh.answer(process, "", 300)
    assert answer.code == 0, answer.document
    port = int(answer.data["tracking_uri"].rpartition(":")[2])
    assert port > chosen
    said = [step["detail"] for step in answer.data["steps"] if step["verb"] == "chosen"]
    assert said[-1].startswith(f"{port}, since {chosen} is taken by")
    assert fresh("status").code == 0


@pytest.fixture
def pair(fresh: Program, installed: Path) -> Iterator[tuple[Program, Program]]:
    """Two stacks that were never brought up."""
    with new_stack(
        installed, fresh.stack.parent.with_name(f"{fresh.stack.parent.name}-b"), fresh.runtime
    ) as other:
        yield fresh, other


def both_up(pair: tuple[Program, Program]) -> list[Answer]:
    """What `up` said of two stacks at once."""
    processes = [program.start("up", "--runtime", program.runtime, "--no-link") for program in pair]
    return [program.answer(process, "", 300) for program, process in zip(pair, processes, strict=True)]


def test_two_stacks_that_are_made_at_once_have_a_port_each(pair: tuple[Program, Program]) -> None:
    answers = both_up(pair)
    assert [answer.code for answer in answers] == [0, 0], [answer.document for answer in answers]
    first, second = (Tracking(answer.data["tracking_uri"]) for answer in answers)
    assert first.uri != second.uri
    experiment = first.call("/experiments/create", {"name": "only here"})["experiment_id"]
    for _ in range(20):
        assert first.call(f"/experiments/get?experiment_id={experiment}")["experiment"]["name"] == "only here"


def test_of_two_stacks_with_one_port_the_second_is_refused(pair: tuple[Program, Program]) -> None:
    port = free_port()
    for program in pair:
        program.settings(f"server:\n  port: {port}\n")
    answers = both_up(pair)
    assert sorted(answer.code for answer in answers) == [0, 4], [answer.document for answer in answers]
    (loser,) = [answer for answer in answers if answer.code]
    refused(loser, 4, "port", "taken", "server.port")
    statuses = [program("status").code for program in pair]
    assert statuses == [answer.code and 6 for answer in answers]
