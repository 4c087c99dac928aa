"""The front door's sockets: nobody shares them, and who calls while its program starts anew is answered."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.checks import eventually
from tests.support.ports import free_port

SERVER = Path(__file__).parents[2] / "deploy/server"
LOOPBACK = "127.0.0.1"
# Answers each connection with its own process number; SIGTERM ends it half a second later, as a program that finishes its calls.
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
HOLDER = """
import sys
sys.path.insert(0, sys.argv[1])
import listening
listening.SERVED_SECONDS = float(sys.argv[3])
try:
    listener = listening.Listener("proxy", [(sys.argv[4], int(sys.argv[2]))])
except (listening.PortTaken, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
sys.exit(listener.run([sys.executable, "-c", sys.argv[5]], {}, lambda: None))
"""


@contextmanager
def holder(port: int, program: str = PROGRAM, host: str = LOOPBACK, served: float = 0) -> Iterator[subprocess.Popen[str]]:
    """A process that listens there and runs the program."""
    argv = [sys.executable, "-c", HOLDER, str(SERVER), str(port), str(served), host, program]
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
            eventually(lambda gone=program: not psutil.pid_exists(gone), 10, "its end", 0.001)
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
