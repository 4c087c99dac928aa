"""The JSON that a launcher reads: whole, read back as it was written, and moved with its places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioner.runtimes.embedded.processes import Binaries, moved_launcher
from provisioner.runtimes.embedded.supervisord_conf import ProcessSpec, read_launcher, render_launcher
from tests.unit.runtimes.specs import BINARIES, embedded


def test_the_launcher_reads_whole_command_lines_whatever_they_hold() -> None:
    odd = ProcessSpec(
        "odd", ("/a b/%(x)s", 'quo"te', "ä\n"), {"KEY": "50%, it's"}, stop_signal="INT", log="logs/odd.log"
    )
    read = json.loads(render_launcher([odd, embedded()["mlflow"]]))
    assert read["odd"] == {
        "argv": ["/a b/%(x)s", 'quo"te', "ä\n"],
        "environment": {"KEY": "50%, it's"},
        "parent_death_signal": "SIGINT",
        "grace_seconds": 10,
        "long_running": True,
        "reads": [],
        "log": "logs/odd.log",
    }
    assert "log" not in read["mlflow"]


def test_a_launchers_json_says_all_of_its_processes() -> None:
    every = (
        *embedded().values(),
        ProcessSpec("odd", ("/a b/%(x)s",), {"KEY": "ä"}, long_running=False, log="odd.log"),
    )
    assert read_launcher(render_launcher(every)) == every
    for text in ("", "[]", "{}", "{}x", '{"mlflow": {}}', render_launcher([every[-1]])):
        with pytest.raises(ValueError, match=r"."):
            moved_launcher(text, BINARIES, Path("/stack"))


def test_a_launchers_json_follows_the_environment_and_the_directory_and_keeps_all_else() -> None:
    text = render_launcher(tuple(embedded().values()))
    assert moved_launcher(text, BINARIES, Path("/stack")) == text
    entries = json.loads(text) | {"mlflow": json.loads(text)["mlflow"] | {"of a later release": ["/stack"]}}
    moved = moved_launcher(json.dumps(entries), Binaries(Path("/other env/bin")), Path("/home/a:b"))
    assert '"/stack' not in moved.replace('"/stack"\n', "", 1)
    assert moved_launcher(moved, BINARIES, Path("/stack")) == json.dumps(entries, indent=2) + "\n"
