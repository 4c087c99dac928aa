"""The tutorial, word for word: its files written, its commands typed, its runs where it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checks import Tracking
from tests.support.installed import ROOT, Program
from tests.support.ports import free_port
from tests.support.terminal import typed

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANSWERS = {r"\[y/N\]: ?$": "y\n"}


class Reader:
    """Somebody with an environment, a folder, and the page."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.folder = program.stack.parent

    def follow(self, page: str) -> None:
        for block in BLOCK.finditer(page):
            language, content = block.groups()
            if language == "sh":
                for line in content.splitlines():
                    self.type(line)
            else:
                # What stands before the block names its file last.
                name = re.findall(r"`([\w/]+\.\w+)`", page[: block.start()])[-1]
                (self.folder / name).write_text(content)

    def type(self, line: str) -> None:
        if line.startswith("cd "):
            self.folder /= line.removeprefix("cd ")
        else:
            typed(line, self.folder, self.program.env, answers=ANSWERS)


@pytest.fixture
def reader(installed: Path, stacks: Path) -> Iterator[Reader]:
    program = Program(installed, stacks / "stack", "embedded")
    # The default stack may be somebody's, and so may its port; the other runtime's `up` is test_screens.py's.
    program.variables |= {
        "PROVISION_STACK": str(program.stack),
        "DOCKER_HOST": f"unix://{stacks}/no-engine.sock",
    }
    program.settings(f"server:\n  port: {free_port()}\n")
    try:
        yield Reader(program)
    finally:
        program.remove()


@pytest.mark.parametrize("runtime", ["embedded"])
def test_the_tutorial_leads_to_tracked_runs_and_back_to_nothing(reader: Reader, runtime: str) -> None:
    page = (ROOT / "docs/tutorial.md").read_text().partition("## Start the stack")[2]
    work, clean_up, rest = page.partition("## Clean up")
    reader.follow(work)
    tracking = Tracking(reader.program("status").data["tracking_uri"])
    found = tracking.call("/experiments/get-by-name?experiment_name=wines")["experiment"]["experiment_id"]
    runs = tracking.call("/runs/search", {"experiment_ids": [found]})["runs"]
    assert {run["data"]["params"][0]["value"] for run in runs} == {"1.0", "0.001"}
    assert {metric["key"] for run in runs for metric in run["data"]["metrics"]} == {"accuracy"}
    for run in runs:
        listed = tracking.call(f"/artifacts/list?run_id={run['info']['run_id']}")
        assert [file["path"] for file in listed["files"]] == ["report.txt"]

    reader.follow(clean_up + rest)
    assert not (reader.program.stack / "data").exists()
    assert not (reader.folder / "conf/local/mlflow.yml").exists()
