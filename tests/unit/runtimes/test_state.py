"""What the embedded runtime remembers: read back as written, never taken for another machine's or boot's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.errors import PreflightError, ProvisionError
from provisioner.runtimes.embedded.process_id import ProcessId
from provisioner.runtimes.embedded.processes import MEMORY_FILE
from provisioner.runtimes.embedded.state import Machine, Memory, read_memory, this_machine, write_memory

HERE = Machine("here", "boot-1")
FULL = Memory(HERE, "/tmp/provision-x", "/env", ProcessId(7, "123"), {"mlflow": "m1"}, "done")


@pytest.mark.parametrize("memory", [Memory(), FULL], ids=["empty", "full"])
def test_a_memory_is_read_back_as_it_was_written(tmp_path: Path, memory: Memory) -> None:
    write_memory(tmp_path, memory)
    assert read_memory(tmp_path) == memory
    assert (tmp_path / MEMORY_FILE).stat().st_mode & 0o777 == 0o600


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    assert read_memory(tmp_path) == Memory()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "machine": null}',
        '{"format": 1, "machine": 5}',
        '{"format": 1, "machine": null, "supervisor": null, "run": 5}',
        '{"format": 1, "machine": null, "supervisor": null, "applied": []}',
        '{"format": 1, "machine": null, "supervisor": null, "applied": {"mlflow": 5}}',
        '{"format": 1, "machine": null, "supervisor": {"pid": "7", "started": "1"}}',
        '{"format": 1, "machine": {"name": 5, "boot": "b"}, "supervisor": null}',
        "[" * 100_000,
    ],
)
def test_a_memory_of_another_form_is_refused_with_its_place(tmp_path: Path, content: str) -> None:
    path = tmp_path / MEMORY_FILE
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(PreflightError) as caught:
        read_memory(tmp_path)
    assert caught.value.where == str(path)
    assert caught.value.why
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("now", "elsewhere", "before"),
    [
        (HERE, False, False),
        (Machine("here", "boot-2"), False, True),
        (Machine("renamed", "boot-1"), False, False),
        (Machine("there", "boot-9"), True, True),
    ],
    ids=["the same", "after a reboot", "after a new host name", "another machine"],
)
def test_a_reboot_is_no_other_machine(now: Machine, elsewhere: bool, before: bool) -> None:
    assert FULL.is_elsewhere(now) is elsewhere
    assert FULL.is_from_before(now) is before
    assert not Memory().is_elsewhere(now)
    assert not Memory().is_from_before(now)


def test_this_machine_is_the_same_each_time_it_is_asked() -> None:
    assert this_machine() == this_machine()
    assert this_machine().name
    assert this_machine().boot


def test_sockets_that_were_cleaned_away_are_not_taken_for_there(tmp_path: Path) -> None:
    assert not Memory().run_exists
    assert Memory(run=str(tmp_path)).run_exists
    tmp_path.rmdir()
    assert not Memory(run=str(tmp_path)).run_exists


def test_a_pipe_in_place_of_the_memory_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / MEMORY_FILE).parent.mkdir()
    os.mkfifo(tmp_path / MEMORY_FILE)
    with pytest.raises(ProvisionError, match="it is a named pipe"):
        read_memory(tmp_path)
