"""Stack directories with long and odd names, of ordinary users, on unfit disks."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.errors import PreflightError
from provisioner.model.settings import Settings
from provisioner.model.stack import build_stack
from provisioner.runtimes.base import Instance
from provisioner.runtimes.embedded.environment import ServerEnvironment, shipped_recipe
from provisioner.runtimes.embedded.filesystem import Mount
from provisioner.runtimes.embedded.interpreter import base_interpreter
from provisioner.runtimes.embedded.runtime import EmbeddedRuntime
from provisioner.runtimes.embedded.service_user import current_account
from provisioner.runtimes.embedded.state import this_machine
from tests.faults.conftest import ODD
from tests.support.checks import kill_all, nothing_changed, processes_in, refused, run_logged
from tests.support.installed import DATA, Program
from tests.support.ports import free_port


def test_a_stack_in_a_long_path_with_spaces_and_other_letters_works_from_end_to_end(program: Program) -> None:
    assert len(str(program.stack).encode()) > 107
    run = run_logged(program("status").data["tracking_uri"])
    assert program("down").code == 0
    answer = program.up("--no-link")
    assert all(check["ok"] for check in answer.data["checks"])
    run.all_there()
    for command in ("status", "logs", "env", "render"):
        said = program(command)
        assert said.code == 0, said.document
        assert said.document["stack"] == str(program.stack)
    lines = program.text("env", "--stack", str(program.stack)).stdout
    shell = subprocess.run(
        ["sh", "-c", 'eval "$1"; echo "$MLFLOW_TRACKING_URI"', "sh", lines],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.strip() == answer.data["tracking_uri"]


def test_the_other_loopback_address_serves(fresh: Program) -> None:
    port = free_port()
    fresh.settings(f"server:\n  port: {port}\n  bind: '::1'\n")
    answer = fresh.up("--no-link")
    assert answer.data["tracking_uri"] == f"http://[::1]:{port}"
    run_logged(answer.data["tracking_uri"]).all_there()


def test_a_stack_that_a_careful_user_made_serves_whatever_the_umask(fresh: Program) -> None:
    # While it is down, nobody else may take the port.
    fresh.settings(f"server:\n  port: {free_port()}\n")
    old = os.umask(0o077)
    try:
        run = run_logged(fresh.up("--no-link").data["tracking_uri"])
        assert fresh("down").code == 0
        for path in (fresh.stack / "deploy").rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        fresh.up("--no-link")
    finally:
        os.umask(old)
    run.all_there()


def test_a_folder_that_compose_cannot_work_in_is_named(docker: None, installed: Path, place: Path) -> None:
    program = Program(installed, place / "100% mine/stack", "docker")
    program.settings()
    with nothing_changed(program.stack):
        error = refused(
            program("up", "--runtime", "docker", "--no-link"), 4, "folder with % in its name", "--stack DIR"
        )
    assert error["left_as"] == "nothing was changed"


@pytest.fixture(scope="module")
def theirs(
    installed: Path, open_environment: Path, tester: pwd.struct_passwd, stacks: Path
) -> Iterator[Program]:
    """An embedded stack of an ordinary user, in an odd place that only that user can enter."""
    home = stacks / "home"
    directory = home / ODD["embedded"] / "stack"
    directory.mkdir(parents=True)
    for path in (home, *home.rglob("*")):
        os.chown(path, tester.pw_uid, tester.pw_gid)
    home.chmod(0o700)
    # Root's `up` made the server environment, which this user shares; without it the user makes one.
    own = (
        {} if list(DATA.glob("environments/*/complete.json")) else {"PROVISION_DATA_DIR": str(home / "data")}
    )
    program = Program(
        open_environment,
        directory,
        "embedded",
        variables={"PROVISION_STATE_DIR": str(home / "state"), **own},
        user=tester,
    )
    (directory / "provision.yml").write_text(f"server:\n  port: {free_port()}\n")
    try:
        yield program
    finally:
        try:
            program("erase", "--yes")
        finally:
            kill_all(processes_in(directory))


def test_an_ordinary_user_has_a_stack_in_an_odd_place(theirs: Program, tester: pwd.struct_passwd) -> None:
    answer = theirs.up("--no-link")
    assert all(check["ok"] for check in answer.data["checks"])
    run = run_logged(answer.data["tracking_uri"])
    assert {process.username() for process in processes_in(theirs.stack)} == {tester.pw_name}
    assert theirs("down").code == 0
    assert processes_in(theirs.stack) == []
    theirs.up("--no-link")
    run.all_there()


def test_root_does_not_take_over_the_data_of_an_ordinary_user(theirs: Program, installed: Path) -> None:
    theirs.up("--no-link")
    assert theirs("down").code == 0
    as_root = theirs.changed(user=None, environment=installed)
    with nothing_changed(theirs.stack / "data"), nothing_changed(theirs.stack):
        error = refused(as_root("up", "--no-link"), 4, "another user", "provision")
        assert error["left_as"] == "nothing was changed"
    theirs.up("--no-link")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "lustre"])
def test_a_network_file_system_is_refused_for_the_database(place: Path, kind: str) -> None:
    stack = build_stack(Settings(), "embedded")
    environment = ServerEnvironment(place / "environments", shipped_recipe(), base_interpreter())
    table = [Mount("/", "ext4"), Mount(str(place), kind)]
    runtime = EmbeddedRuntime(
        stack,
        Instance(place / "stack", "mlflow-test", 5000),
        account=current_account(),
        environment=environment,
        machine=this_machine(),
        mount_table=table,
    )
    with pytest.raises(PreflightError, match="network file system") as refusal:
        runtime.preflight()
    assert kind in refusal.value.what
    assert str(place) in refusal.value.where
    assert "local disk" in refusal.value.hint


@pytest.fixture
def small_disk(root: None, stacks: Path) -> Iterator[Path]:
    """A file system of its own with 64 MB."""
    folder = stacks / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0755", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_too_full_is_refused_before_anything_is_made(
    installed: Path, small_disk: Path
) -> None:
    program = Program(installed, small_disk / "stack", "embedded")
    program.settings()
    with nothing_changed(program.stack):
        error = refused(
            program("up", "--runtime", "embedded", "--no-link"),
            4,
            "MB are free",
            "500 are needed",
            "--stack DIR",
        )
    assert error["left_as"] == "nothing was changed"
    assert processes_in(program.stack) == []
