"""Sockets kept for a program: nobody shares them.

Who calls while it starts anew, or another takes its place, is answered.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.checks import eventually
from tests.support.ports import free_port

SERVER = Path(__file__).parents[3] / "deploy"
LOOPBACK = "127.0.0.1"
# Answers each connection with its own process number; SIGTERM ends it half a second later, as a program that
# finishes its calls.
PROGRAM = """
import os, signal, socket, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), os._exit(7)))
server = socket.socket(fileno=3)
while True:
    try:
        connection, _ = server.accept()
    except OSError:
        # Told to end, and the socket no longer listens.
        time.sleep(0.01)
        continue
    connection.sendall(str(os.getpid()).encode())
    connection.close()
"""
# The same, which says that it is ready a while after it started.
SLOW = """
import os, socket, time
time.sleep(1)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as note:
    note.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
"""
HOLDER = """
import sys
from pathlib import Path
server, address, served, notes, program = sys.argv[1:]
sys.path.insert(0, server)
from provision_server.web import listening
listening.SERVED_SECONDS = float(served)
host, _, port = address.rpartition(":")
try:
    listener = listening.Listener("proxy", [(host, int(port)) if host else address])
except (listening.PortTaken, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
def run(program, former=None):
    starter = listening.Starter([sys.executable, "-c", program], {}, lambda: None, Path(notes), 5)
    # Another starts in this place without an `exec`, which would forget this script.
    return listener.run(
        starter, former, lambda former: sys.exit(run(Path(notes + ".next").read_text(), former))
    )
sys.exit(run(program))
"""


@contextmanager
def holder(
    address: int | Path, program: str = PROGRAM, host: str = LOOPBACK, served: float = 0
) -> Iterator[subprocess.Popen[str]]:
    """A process that listens on a port or a Unix socket and runs the program."""
    with tempfile.TemporaryDirectory() as folder:
        where = str(address) if isinstance(address, Path) else f"{host}:{address}"
        notes = str(address) if isinstance(address, Path) else f"{folder}/proxy"
        argv = [sys.executable, "-c", HOLDER, str(SERVER), where, str(served), notes, program]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            children = psutil.Process(process.pid).children() if process.poll() is None else []
            process.kill()
            for child in children:
                child.kill()
            process.communicate()


@pytest.fixture
def port() -> int:
    return free_port()


def answered(port: int, host: str = LOOPBACK) -> int:
    """The process that answers on the port."""
    with socket.create_connection((host, port), timeout=10) as connection:
        return int(connection.recv(100))


def answers(port: int, host: str = LOOPBACK) -> Callable[[], int]:
    def look() -> int:
        try:
            return answered(port, host)
        except (OSError, ValueError):
            return 0

    return look


def gone(pid: int) -> Callable[[], bool]:
    return lambda: not psutil.pid_exists(pid)


@pytest.mark.parametrize("host", [LOOPBACK, "::1", "0.0.0.0", "::"])
def test_a_port_that_is_held_is_shared_with_nobody(port: int, host: str) -> None:
    local = {"0.0.0.0": LOOPBACK, "::": LOOPBACK}.get(host, host)
    with holder(port, host=host):
        eventually(answers(port, local), 10, "an answer")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as another:
            # As Caddy does it: with it on both sides the kernel deals the calls out to both.
            another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                another.bind((host, port))


def test_of_two_that_want_a_port_one_ends_and_says_so(port: int) -> None:
    with holder(port):
        first = eventually(answers(port), 10, "an answer")
        with holder(port) as second:
            _, said = second.communicate(timeout=20)
        assert said == f"PortTaken: port {port} of 127.0.0.1 is taken by another program\n"
        assert answered(port) == first


def test_who_calls_while_the_program_is_started_anew_is_answered(port: int) -> None:
    with holder(port) as process:
        program = eventually(answers(port), 10, "an answer")
        for _ in range(5):
            os.kill(program, signal.SIGKILL)
            # What the killed one took along is lost; who comes after it is never refused.
            eventually(gone(program), 10, "its end", 0.001)
            before, program = program, answered(port)
            assert program != before
        assert process.poll() is None


def test_told_to_end_it_refuses_new_calls_and_waits_for_its_program(port: int) -> None:
    with holder(port) as process:
        eventually(answers(port), 10, "an answer")
        process.send_signal(signal.SIGTERM)
        eventually(lambda: not answers(port)(), 5, "a refusal")
        assert process.wait(10) == 7


def test_a_program_that_never_served_is_not_started_over_and_over(port: int) -> None:
    with holder(port, "raise SystemExit(3)", served=30) as process:
        assert process.wait(10) == 3


def test_an_address_of_another_machine_is_said(port: int) -> None:
    with holder(port, host="192.0.2.1") as process:
        _, said = process.communicate(timeout=10)
    assert said.endswith(f"cannot listen on port {port} of 192.0.2.1: Cannot assign requested address\n")


class Calls:
    """Somebody who calls a Unix socket over and over: who answered, and how many calls were not answered."""

    def __init__(self, path: Path) -> None:
        self.seen: list[int] = []
        self.failed: list[str] = []
        self._path = path
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def _call(self) -> None:
        while not self._end.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(10)
                    connection.connect(str(self._path))
                    self.seen.append(int(connection.recv(100)))
            except (OSError, ValueError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> Calls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


LISTENS = PROGRAM.replace("while True", "server.listen(64)\nwhile True", 1)
# Told to end, it first takes who has connected.
ENDS = LISTENS.replace(
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), os._exit(7)))", ""
).replace(
    "while True:", "signal.signal(signal.SIGTERM, lambda *_: told.append(1))\ntold = []\nwhile not told:"
)


def on_a_socket(path: Path) -> Callable[[], int]:
    def look() -> int:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                return int(connection.recv(100))
        except (OSError, ValueError):
            return 0

    return look


def test_a_unix_socket_refuses_until_its_program_listens(tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    with holder(path, LISTENS.replace("server.listen", "time.sleep(1); server.listen")):
        eventually(path.exists, 10, "the socket", 0.01)
        with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
            early.connect(str(path))
        program = eventually(on_a_socket(path), 10, "an answer")
        os.kill(program, signal.SIGKILL)
        # Who calls a program that is not there asks again, and says at last that nobody is there.
        eventually(lambda: not on_a_socket(path)(), 10, "a refusal", 0.001)
        assert eventually(on_a_socket(path), 10, "an answer") != program


def test_another_program_takes_the_place_of_one_that_runs_and_no_call_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    with holder(path, ENDS) as process:
        first = eventually(on_a_socket(path), 10, "an answer")
        Path(f"{path}.next").write_text(SLOW + LISTENS)
        with Calls(path) as calls:
            eventually(lambda: len(calls.seen) > 50, 10, "calls")
            process.send_signal(signal.SIGUSR2)
            eventually(lambda: calls.seen[-1] != first, 10, "another program's answers")
            eventually(lambda: not psutil.pid_exists(first), 10, "the end of the first")
            so_far = len(calls.seen)
            eventually(lambda: len(calls.seen) > so_far + 50, 10, "more calls")
        assert calls.failed == []
        assert len(set(calls.seen)) == 2
        assert Path(f"{path}.ready").read_text() == f"{calls.seen[-1]}\n"
        eventually(Path(f"{path}.alone").exists, 10, "the one before has ended")


def test_one_that_does_not_get_ready_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    with holder(path, LISTENS) as process:
        first = eventually(on_a_socket(path), 10, "an answer")
        Path(f"{path}.next").write_text("raise SystemExit(3)")
        with Calls(path) as calls:
            process.send_signal(signal.SIGUSR2)
            eventually(Path(f"{path}.failed").exists, 10, "the note")
            so_far = len(calls.seen)
            eventually(lambda: len(calls.seen) > so_far + 50, 10, "more calls")
        assert (calls.failed, set(calls.seen)) == ([], {first})
        assert Path(f"{path}.failed").read_text() == "ended with 3\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 7


def test_told_to_end_while_another_gets_ready_both_end(tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    with holder(path, LISTENS) as process:
        first = eventually(on_a_socket(path), 10, "an answer")
        Path(f"{path}.next").write_text("import time; time.sleep(60)")
        process.send_signal(signal.SIGUSR2)
        second = eventually(lambda: psutil.Process(process.pid).children()[1:], 10, "the second")[0]
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert not psutil.pid_exists(first)
        assert not second.is_running()
        assert not path.exists()
