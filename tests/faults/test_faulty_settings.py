"""A `provision.yml` with faults: all of them at once, each with its line, and nothing is touched."""

from __future__ import annotations

from tests.support.checks import containers, nothing_changed, refused, service_not_restarted
from tests.support.installed import Answer, Program

FAULTY = """\
server:
  prot: 5000
  bind: 0.0.0.0
artifact_store:
  kind: floppy
backend_store:
  uri: mysql://somewhere/db
resources:
  postgres:
    memory: lots
"""
FAULTS = {
    2: "did you mean server.port",
    3: "opens the server to the network",
    5: "must be one of",
    7: "postgresql+psycopg2://",
    10: "lots",
}


def all_named(answer: Answer, place: str) -> None:
    assert answer.code == 3, answer.document
    found = {error["where"].rpartition("/")[2]: error for error in answer.document["errors"]}
    assert {error["where"].rpartition("/")[0] for error in answer.document["errors"]} == {place}
    assert sorted(found) == sorted(f"provision.yml:{line}" for line in FAULTS), answer.document
    for line, words in FAULTS.items():
        error = found[f"provision.yml:{line}"]
        assert words in error["what"], error
        assert error["left_as"] == "nothing was changed"
        assert error["hint"], error


def test_every_fault_is_named_before_anything_is_made(fresh: Program) -> None:
    (fresh.stack / "provision.yml").write_text(FAULTY)
    with nothing_changed(fresh.stack):
        all_named(fresh("up", "--runtime", fresh.runtime), str(fresh.stack))
        all_named(fresh("up"), str(fresh.stack))
    if fresh.runtime == "docker":
        assert containers(fresh.stack) == []


def test_a_running_stack_runs_on_while_its_settings_are_faulty(program: Program) -> None:
    settings = program.stack / "provision.yml"
    right = settings.read_bytes()
    with service_not_restarted(program):
        settings.write_text(FAULTY)
        try:
            with nothing_changed(program.stack / "deploy"), nothing_changed(program.stack / "secrets"):
                for command in ("up", "down", "status", "render"):
                    all_named(program(command), str(program.stack))
        finally:
            settings.write_bytes(right)
    assert [step["verb"] for step in program.up("--no-link").data["steps"]] == ["unchanged"]


def test_text_that_is_no_yaml_is_one_fault_with_its_line(fresh: Program) -> None:
    (fresh.stack / "provision.yml").write_text("server:\n  port: [5000\nname: x\n")
    answer = fresh("up", "--runtime", fresh.runtime)
    assert answer.code == 3
    assert answer.error["where"] == f"{fresh.stack}/provision.yml:3"
    (fresh.stack / "provision.yml").write_bytes(b"name: caf\xe9\n")
    answer = fresh("up", "--runtime", fresh.runtime)
    assert answer.code == 3
    assert "not UTF-8" in answer.error["what"]


def test_a_file_that_looks_like_the_settings_is_named(fresh: Program) -> None:
    (fresh.stack / "provision.yml").rename(fresh.stack / "provision.yaml")
    with nothing_changed(fresh.stack):
        error = refused(
            fresh("up", "--runtime", fresh.runtime), 3, "provision.yaml is not read", "provision.yml"
        )
        assert error["hint"] == "rename it to provision.yml"
    (fresh.stack / "provision.yml").write_text("")
    assert "provision.yaml" in fresh("up", "--runtime", fresh.runtime, "--dry-run").warned
