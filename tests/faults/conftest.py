"""Stacks shared by faults that leave them healed, an ordinary user, and what only root can prepare."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.checks import kill_all, processes_in, remove_containers
from tests.support.installed import CACHE, DATA, ROOT, Program, installed_environment
from tests.support.locks import alone
from tests.support.ports import free_port

RUNTIMES = ("docker", "embedded")
# Where names meet a shell, a YAML file, a URI, supervisord or the 107 bytes of a socket's path, this one
# hurts.
LONG = "ein sehr langer Ordner " * 4 + "数据"
ODD = {
    "docker": f"Frédéric's «stack» & $HOME #1/{LONG}",
    "embedded": f"Frédéric's «stack» 100% & $HOME #1/{LONG}",
}
# Each checkout and home has users of its own, one for each process of `pytest -n`.
OURS = hashlib.sha256(f"{ROOT}\n{CACHE}".encode()).hexdigest()[:6]
TESTER = f"provision-test-{OURS}-{os.environ.get('PYTEST_XDIST_WORKER', 'one')}"


@contextlib.contextmanager
def new_stack(installed: Path, folder: Path, runtime: str) -> Iterator[Program]:
    """A stack that was not brought up yet; nothing of it is left afterwards."""
    program = Program(installed, folder / "stack", runtime)
    program.settings()
    try:
        yield program
    finally:
        try:
            program.remove()
        finally:
            kill_all(processes_in(program.stack))
            if runtime == "docker":
                remove_containers(program.stack)


@pytest.fixture(scope="session", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Each runtime in turn."""
    if request.param == "docker":
        request.getfixturevalue("docker")
    return str(request.param)


@pytest.fixture(scope="session")
def shared(runtime: str, installed: Path, all_stacks: Path) -> Iterator[Program]:
    """The stack of a runtime, up; in a directory with an odd name."""
    with new_stack(installed, all_stacks / runtime / ODD[runtime], runtime) as program:
        program.settings(f"server:\n  port: {free_port()}\n")
        program.up("--no-link")
        yield program


@pytest.fixture
def program(shared: Program, request: pytest.FixtureRequest) -> Program:
    """The shared stack of a runtime; a test leaves it up and with its data."""
    if request.session.testsfailed:
        # One failure is enough to look at.
        shared("up", "--no-link")
    return shared


@pytest.fixture
def fresh(runtime: str, installed: Path, stacks: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """A stack that was never brought up."""
    with new_stack(installed, stacks / f"{runtime}-{abs(hash(request.node.name))}", runtime) as program:
        yield program


@pytest.fixture
def place(stacks: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for one test that every account can reach, as pytest's own is root's alone."""
    folder = stacks / f"place-{abs(hash(request.node.nodeid))}"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def root() -> None:
    """The test prepares what only root can: users, mounts, a place such as /snap."""
    if os.geteuid() != 0:
        pytest.skip("this test has to be run by root")


@pytest.fixture(scope="session")
def tester(root: None) -> Iterator[pwd.struct_passwd]:
    """An ordinary user, in no group of its own making, who may not use the Docker engine."""
    with contextlib.suppress(KeyError):
        pwd.getpwnam(TESTER)
        _change_users("userdel", "--remove", TESTER)
    _change_users("useradd", "--create-home", "--shell", "/bin/sh", TESTER)
    try:
        yield pwd.getpwnam(TESTER)
    finally:
        kill_all(
            process for process in psutil.process_iter(["username"]) if process.info["username"] == TESTER
        )
        _change_users("userdel", "--remove", TESTER)


def _change_users(*argv: str) -> None:
    """Run one of shadow's programs, in turn: it fails, and does not wait, while another changes the users."""
    with alone(DATA / "users.lock"):
        subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture(scope="session")
def open_environment(root: None) -> Path:
    """The installed wheel where every user can run it, with a Python that every user can read."""
    from provisioner.output import Recorder
    from provisioner.runtimes.embedded.interpreter import choose_interpreter, make_interpreter
    from provisioner.runtimes.embedded.service_user import system_account

    nobody = system_account("nobody")
    interpreter = choose_interpreter(nobody, DATA)
    make_interpreter(interpreter, nobody, Recorder())
    return installed_environment(str(interpreter.executable), DATA / "open", extra="")
