"""Another server where a stack's proxy should be."""

from __future__ import annotations

from pathlib import Path

from tests.support.checks import nothing_changed, refused
from tests.support.installed import Program
from tests.support.link_project import make_project
from tests.support.ports import free_port


def test_another_stack_at_the_address_is_never_taken_for_this_one(
    program: Program, fresh: Program, place: Path
) -> None:
    address = program("status").data["tracking_uri"]
    fresh.settings(f"server:\n  port: {free_port()}\n")
    fresh.up("--no-link")
    project = make_project(place, {"conf/base/": "", "conf/local/": ""})
    assert fresh("link", str(project)).code == 0
    assert fresh("doctor", str(project)).code == 0
    # Its settings name the other stack's port now; its own services run on.
    fresh.settings(f"server:\n  port: {address.rpartition(':')[2]}\n")
    for command in ("status", "doctor"):
        answer = fresh(command)
        assert answer.code == 6, answer.document
        assert f"{address}: another stack answers" in answer.error["what"] + answer.error["why"]
        assert "server.port" in answer.error["hint"]
    with nothing_changed(project):
        refused(fresh("link", str(project)), 6, "another server's", "another stack answers")
