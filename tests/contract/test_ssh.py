"""What only an SSH host has: connections that cannot be made, or are lost, and a lock that can be broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from provisioner.errors import CommandFailed, Locked, PreflightError
from provisioner.system.ssh import SSHHost
from provisioner.system.ssh_connection import LOST
from tests.contract.test_host import HOLD, another
from tests.support.ports import free_port
from tests.support.sshd import SERVER, Client, local_sshd, make_key

MADE_BY = "SSHHost('there')"
pytestmark = pytest.mark.skipif(SERVER is None, reason="sshd is not installed")


@pytest.fixture(scope="module")
def sshd() -> Iterator[Client]:
    with local_sshd() as client:
        yield client


@pytest.fixture
def client(sshd: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The client's files are as they were afterwards."""
    monkeypatch.setenv("PATH", sshd.path)
    kept = {path: path.read_bytes() for path in (sshd.folder / "config", sshd.known_hosts)}
    yield sshd
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.fixture
def host(client: Client) -> Iterator[SSHHost]:
    made = SSHHost("there")
    yield made
    made.connection.close()


def masters() -> list[psutil.Process]:
    """The shared connections that this process holds."""
    return [
        child for child in psutil.Process().children() if "-M" in child.cmdline() and child.name() == "ssh"
    ]


def test_all_commands_share_one_connection_which_ends_with_the_host(host: SSHHost) -> None:
    assert host.run(["true"]).code == 0
    connection = host.run(["/bin/sh", "-c", "echo $SSH_CONNECTION"]).text
    assert connection
    assert {host.run(["/bin/sh", "-c", "echo $SSH_CONNECTION"]).text for _ in range(3)} == {connection}
    assert len(masters()) == 1
    host.connection.close()
    assert masters() == []


def test_nothing_is_left_of_a_connection_whose_owner_is_killed(client: Client) -> None:
    with another(MADE_BY, "import time\nhost.facts\nprint('ready', flush=True)\ntime.sleep(60)") as process:
        held = psutil.Process(process.pid).children()
        assert len(held) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(held, 10)
    assert not alive


def test_a_key_that_is_not_taken_is_told_with_what_to_do(client: Client, host: SSHHost) -> None:
    config = (client.folder / "config").read_text()
    stranger = client.folder / "stranger"
    make_key(stranger)
    (client.folder / "config").write_text(config.replace(str(client.key), str(stranger)))
    with pytest.raises(PreflightError, match="takes none of your SSH keys") as caught:
        host.run(["true"])
    assert "ssh-copy-id there" in caught.value.hint
    assert caught.value.left_as == "nothing was changed"


@pytest.mark.parametrize("at_a_terminal", [False, True])
def test_an_unknown_host_key_is_never_taken_and_not_asked_about(
    client: Client, host: SSHHost, monkeypatch: pytest.MonkeyPatch, at_a_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: at_a_terminal)
    client.known_hosts.write_text("")
    with pytest.raises(PreflightError, match="host key of there is not known") as caught:
        host.run(["true"])
    assert "ssh-keyscan" in caught.value.hint
    assert client.known_hosts.read_text() == ""


def test_a_host_key_is_taken_where_the_users_own_configuration_says_so(client: Client, host: SSHHost) -> None:
    known = client.known_hosts.read_text()
    client.known_hosts.write_text("")
    config = (client.folder / "config").read_text()
    (client.folder / "config").write_text(f"StrictHostKeyChecking accept-new\n{config}")
    assert host.run(["true"]).code == 0
    assert client.known_hosts.read_text().split()[2] == known.split()[2]


def test_a_host_key_that_changed_is_refused_with_the_command_that_forgets_it(
    client: Client, host: SSHHost, tmp_path: Path
) -> None:
    name = client.known_hosts.read_text().split()[0]
    other = make_key(tmp_path / "key")
    client.known_hosts.write_text(f"{name} {' '.join(other.split()[:2])}\n")
    with pytest.raises(PreflightError, match="another than before") as caught:
        host.run(["true"])
    assert "ssh-keygen -f" in caught.value.hint
    assert name in caught.value.hint
    assert "find out why first" in caught.value.hint


@pytest.mark.parametrize(
    ("where", "said"), [("127.0.0.1", "cannot be reached"), ("no-such-host.invalid", "leads nowhere")]
)
def test_a_host_that_does_not_answer_is_told(client: Client, where: str, said: str) -> None:
    with open(client.folder / "config", "a", encoding="utf-8") as config:
        config.write(f"Host elsewhere\n  HostName {where}\n  Port {free_port()}\n")
    host = SSHHost("somebody@elsewhere")
    with pytest.raises(PreflightError, match=said) as caught:
        host.run(["true"])
    assert "ssh somebody@elsewhere" in caught.value.hint
    host.connection.close()


def test_what_the_users_configuration_says_is_known_without_a_connection(
    client: Client, host: SSHHost
) -> None:
    assert host.connection.resolved()["hostname"] == "127.0.0.1"
    assert masters() == []


def test_a_lost_connection_is_an_error_and_no_second_one_is_made_under_it(
    host: SSHHost, tmp_path: Path
) -> None:
    host.run(["true"])
    (master,) = masters()
    master.kill()
    calls: tuple[Callable[[], object], ...] = (
        lambda: host.run(["true"]),
        lambda: host.stream(["true"], print, cwd=tmp_path, env=host.environment()),
        lambda: host.forward("127.0.0.1:1"),
    )
    for call in calls:
        with pytest.raises(CommandFailed, match="the connection to there was lost") as caught:
            call()
        assert caught.value.returncode == LOST
    host.connection.close()
    assert host.run(["true"]).code == 0, "a new one after it was closed"


def test_a_long_command_ends_with_the_connection(host: SSHHost, tmp_path: Path) -> None:
    lines: list[str] = []

    def on_line(text: str) -> None:
        lines.append(text)
        masters()[0].kill()

    script = f"echo $$; sleep 60; touch {tmp_path / 'went-on'}"
    with pytest.raises(CommandFailed, match="the connection to there was lost"):
        host.stream(["/bin/sh", "-c", script], on_line, cwd=tmp_path, env=host.environment())
    end = time.monotonic() + 10
    while psutil.pid_exists(int(lines[0])) and time.monotonic() < end:
        time.sleep(0.1)
    assert not psutil.pid_exists(int(lines[0]))


def test_a_cut_off_file_does_not_take_the_place_of_a_whole_one(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    code = (
        "import threading, psutil\nhost.facts\n"
        "kill = threading.Timer(0.7, lambda: psutil.Process().children()[0].kill())\n"
        "print('ready', flush=True)\nkill.start()\n"
        f"while True:\n    host.put(b'new' * 30_000_000, Path({str(path)!r}), 0o644)"
    )
    with another(MADE_BY, code) as process:
        process.wait(30)
    content = path.read_bytes()
    assert content == b"old" or len(content) == 90_000_000
    end = time.monotonic() + 5
    while [found.name for found in tmp_path.iterdir()] != ["file"] and time.monotonic() < end:
        time.sleep(0.1)
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_lock_ends_with_the_connection(client: Client, host: SSHHost, tmp_path: Path) -> None:
    with another(MADE_BY, HOLD.format(directory=str(tmp_path))) as process:
        master = next(child for child in psutil.Process(process.pid).children() if "-M" in child.cmdline())
        master.kill()
        end = time.monotonic() + 10
        while True:
            try:
                with host.lock(tmp_path, "down"):
                    return
            except Locked:
                assert time.monotonic() < end
                time.sleep(0.2)


def test_a_lock_is_broken_only_when_asked_and_names_whom_it_was_taken_from(
    client: Client, host: SSHHost, tmp_path: Path
) -> None:
    assert host.break_lock(tmp_path) == ""
    with another(MADE_BY, HOLD.format(directory=str(tmp_path))) as process:
        with pytest.raises(Locked) as caught, host.lock(tmp_path, "down"):
            pytest.fail("two hold the lock")
        assert f"process {process.pid}" in caught.value.why
        assert " by " in caught.value.why
        assert "--break-lock" in caught.value.hint
        assert f"provision up, process {process.pid}" in host.break_lock(tmp_path)
        with host.lock(tmp_path, "down"):
            pass
    assert host.break_lock(tmp_path) == "", "nobody holds it"


def test_no_value_of_a_variable_that_is_there_already_is_on_a_command_line(host: SSHHost) -> None:
    have = host.environment()
    shown = host.run(["/bin/sh", "-c", "tr '\\0' ' ' </proc/$PPID/cmdline"], env={**have, "NEW": "1"}).text
    assert "NEW=1" in shown
    assert have["PATH"] not in shown


def test_a_terminal_is_not_needed(client: Client) -> None:
    code = (
        "from provisioner.system.ssh import SSHHost; host = SSHHost('there'); "
        "print(host.facts['user']); host.connection.close()"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
        timeout=30,
    )
    assert done.stdout.strip(), done.stderr
