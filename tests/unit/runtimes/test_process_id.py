"""Which process that is: not only its number, and dead ones are dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from provisioner.runtimes.embedded.process_id import (
    ProcessId,
    belongs_to,
    end,
    is_alive,
    process_id_of,
    terminate,
    wait_for_end,
)

READY = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(60)"
)


def start(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with start(getattr(request, "param", READY)) as started:
        yield started
        started.kill()


def process_id(process: subprocess.Popen[bytes]) -> ProcessId:
    found = process_id_of(process.pid)
    assert found is not None
    return found


def test_a_running_process_is_known_again(process: subprocess.Popen[bytes]) -> None:
    assert process_id(process) == process_id(process)
    assert is_alive(process_id(process))
    assert belongs_to(process_id(process), os.getuid())
    assert not belongs_to(process_id(process), os.getuid() + 1)


def test_another_process_of_the_same_number_is_not_it(process: subprocess.Popen[bytes]) -> None:
    former = ProcessId(process.pid, str(int(float(process_id(process).started)) - 1000))
    assert not is_alive(former)
    assert end([former], signal.SIGKILL, 0) == []
    assert process.poll() is None


def test_the_remains_of_a_process_are_no_process(process: subprocess.Popen[bytes]) -> None:
    seen = process_id(process)
    process.kill()
    # Not waited for: it stays in the table as a zombie.
    assert wait_for_end([seen], 10) == []
    assert process_id_of(process.pid) is None
    assert not is_alive(seen)


def test_a_number_that_nobody_has_is_no_process() -> None:
    assert process_id_of(2**22 + 5) is None
    assert not belongs_to(ProcessId(2**22 + 5, "1"), os.getuid())


def test_a_signal_ends_a_process_within_its_deadline(process: subprocess.Popen[bytes]) -> None:
    assert end([process_id(process)], signal.SIGTERM, 10) == []


@pytest.mark.parametrize("process", [DEAF], indirect=True)
def test_a_process_that_does_not_listen_is_named_then_killed(process: subprocess.Popen[bytes]) -> None:
    seen = process_id(process)
    assert end([seen], signal.SIGTERM, 0.2) == [seen]
    assert terminate([seen], signal.SIGTERM, 0.2) == []
    assert process.wait(10) == -signal.SIGKILL
