"""A port that somebody else holds."""

from __future__ import annotations

import json
import os
import socket

from tests.checks import containers, nothing_changed, refused
from tests.faults.conftest import held
from tests.installed import Program


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
