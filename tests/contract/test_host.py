"""What every host does: run, put, get, lock. One suite over each implementation."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from provisioner.errors import CommandFailed, Locked, ProvisionError
from provisioner.system.host import Host
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def another(made_by: str, code: str) -> Iterator[subprocess.Popen[str]]:
    """A second process with a host of its own, once it has said that it is ready."""
    imports = (
        "from pathlib import Path\nfrom provisioner.system.host import *\n"
        "from provisioner.system.ssh import SSHHost"
    )
    text = f"{imports}\nhost = {made_by}\n{code}"
    argv = [sys.executable, "-c", text]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_program_gets_its_input_place_and_environment(host: Host, tmp_path: Path) -> None:
    code = "cat; pwd; echo $A-$HOME; echo oh >&2"
    done = host.run(["/bin/sh", "-c", code], cwd=tmp_path, env={"A": "b"}, stdin=b"in\n")
    assert (done.code, done.stdout, done.stderr) == (0, f"in\n{tmp_path}\nb-\n".encode(), b"oh\n")


def test_words_of_a_command_line_stay_whole(host: Host) -> None:
    words = ["a b", "$HOME", "`id`", "*", "'", '"', "", "ä\n"]
    argv = [sys.executable, "-c", "import sys; print(sys.argv[1:])", *words]
    assert host.run(argv).text == str(words)


def test_bytes_pass_through_as_they_are(host: Host) -> None:
    data = bytes(range(256)) * 1000
    assert host.run(["cat"], stdin=data).stdout == data


def test_a_failed_program_is_an_error_unless_its_code_is_an_answer(host: Host) -> None:
    argv = ["/bin/sh", "-c", "echo why >&2; exit 3"]
    with pytest.raises(CommandFailed) as caught:
        host.run(argv)
    assert (caught.value.returncode, caught.value.why) == (3, "why")
    assert host.run(argv, check=False).code == 3


def test_a_program_that_is_missing_killed_or_late_is_always_an_error(host: Host) -> None:
    for argv, timeout, said in (
        (["no-such-program"], 60, "is not there"),
        (["/bin/sh", "-c", "kill -9 $$"], 60, "killed by SIGKILL"),
        (["sleep", "60"], 0.5, "did not end within"),
    ):
        with pytest.raises(CommandFailed, match=said):
            host.run(argv, check=False, timeout=timeout)


def test_lines_come_one_by_one_while_the_program_runs(host: Host, tmp_path: Path) -> None:
    came: list[tuple[str, float]] = []
    argv = ["/bin/sh", "-c", "echo $A; sleep 0.5; echo two >&2"]
    host.stream(
        argv,
        lambda line: came.append((line, time.monotonic())),
        cwd=tmp_path,
        env={"A": "one", "PATH": os.environ["PATH"]},
    )
    assert [line for line, _ in came] == ["one", "two"]
    assert came[1][1] - came[0][1] > 0.3


def test_a_program_with_the_terminal_gives_its_code(host: Host, tmp_path: Path) -> None:
    assert host.attach(["/bin/sh", "-c", "exit 4"], cwd=tmp_path, env={}) == 4


def test_what_was_put_is_got_with_its_mode_in_directories_that_were_made(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b c" / "file"
    for content, mode in ((b"\x00\xff", 0o600), (b"", 0o644), (b"new", 0o444)):
        host.put(content, path, mode)
        assert host.get(path) == content
        assert path.stat().st_mode & 0o7777 == mode
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_the_mode_is_the_one_asked_for_whatever_the_umask(host: Host, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        host.put(b"", tmp_path / "file", 0o644)
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("path", ["absent", "absent/below", "file/below"])
def test_a_file_that_is_not_there_is_none(host: Host, tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert host.get(tmp_path / path) is None


def test_a_file_that_cannot_be_written_or_read_is_an_error_and_changes_nothing(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ProvisionError, match="cannot be written"):
        host.put(b"new", tmp_path / "file" / "below", 0o644)
    with pytest.raises(ProvisionError, match="cannot be written"):
        host.put(b"new", tmp_path / "folder", 0o644)
    with pytest.raises(ProvisionError, match="cannot be read"):
        host.get(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_writer_that_is_killed_leaves_the_old_or_the_new_file_and_never_half_of_one(
    host: Host, made_by: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    size = 3_000_000
    host.put(b"a" * size, path, 0o600)
    code = (
        f"print('ready', flush=True)\nwhile True:\n    host.put(b'b' * {size}, Path({str(path)!r}), 0o600)\n"
        f"    host.put(b'a' * {size}, Path({str(path)!r}), 0o600)"
    )
    for number in range(8):
        with another(made_by, code) as process:
            time.sleep(0.01 + 0.013 * number)
            process.send_signal(signal.SIGKILL)
        content = host.get(path)
        assert content is not None
        assert len(content) == size
        assert len(set(content)) == 1
        assert path.stat().st_mode & 0o777 == 0o600


HOLD = (
    "import time\nwith host.lock(Path({directory!r}), 'up'):\n"
    "    print('ready', flush=True)\n    time.sleep(60)"
)


def test_a_lock_excludes_others_and_names_who_holds_it(host: Host, made_by: str, tmp_path: Path) -> None:
    with another(made_by, HOLD.format(directory=str(tmp_path))) as holder:
        with pytest.raises(Locked) as caught, host.lock(tmp_path, "down"):
            pytest.fail("two hold the lock")
        assert caught.value.exit_code == 8
        assert f"provision up, process {holder.pid}, since " in caught.value.why
        assert str(tmp_path) in caught.value.where


def test_a_lock_ends_with_its_holder_also_when_that_is_killed(
    host: Host, made_by: str, tmp_path: Path
) -> None:
    with another(made_by, HOLD.format(directory=str(tmp_path))) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        with host.lock(tmp_path, "down"):
            pass


@pytest.mark.parametrize("ends", ["well", "with an error"])
def test_a_lock_can_be_had_again_however_its_work_ended(host: Host, tmp_path: Path, ends: str) -> None:
    def work() -> None:
        with host.lock(tmp_path, "up"):
            if ends != "well":
                raise RuntimeError("work failed")

    if ends == "well":
        work()
    else:
        with pytest.raises(RuntimeError, match="work failed"):
            work()
    with host.lock(tmp_path, "up"):
        pass


def test_a_lock_is_not_kept_by_what_was_started_under_it(host: Host, made_by: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import time\n"
        f"with host.lock(Path({str(tmp_path)!r}), 'up'):\n"
        f"    host.run(['/bin/sh', '-c', 'sleep 60 >/dev/null 2>&1 & echo $! > {pid}'])\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    with another(made_by, code):
        sleeper = int(pid.read_text())
        try:
            os.kill(sleeper, 0)
            with host.lock(tmp_path, "down"):
                pass
        finally:
            os.kill(sleeper, signal.SIGKILL)


def test_stacks_are_locked_one_by_one_and_their_directories_made(host: Host, tmp_path: Path) -> None:
    with host.lock(tmp_path / "one", "up"), host.lock(tmp_path / "new" / "two", "up"):
        assert (tmp_path / "new" / "two").is_dir()


def test_a_lock_that_cannot_be_made_is_an_error(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ProvisionError, match="cannot be written") as caught,
        host.lock(tmp_path / "file" / "below", "up"),
    ):
        pytest.fail("a lock below a file")
    assert not isinstance(caught.value, Locked)


@pytest.mark.parametrize("left", ["", "{", "[]", '{"pid": 1}', "\x00"])
def test_whatever_a_former_holder_left_is_no_obstacle_and_no_bug(
    host: Host, made_by: str, tmp_path: Path, left: str
) -> None:
    (tmp_path / ".lock").write_text(left)
    with host.lock(tmp_path, "up"):
        (tmp_path / ".lock").write_text(left)
        with pytest.raises(Locked) as caught, host.lock(tmp_path, "down"):
            pytest.fail("two hold the lock")
        assert caught.value.why == ""


def test_several_files_are_read_at_once(host: Host, tmp_path: Path) -> None:
    content = {
        tmp_path / "a b": b"1\n2",
        tmp_path / "empty": b"",
        tmp_path / "binary": bytes(range(256)),
        tmp_path / "absent": None,
    }
    for path, data in content.items():
        if data is not None:
            path.write_bytes(data)
    assert host.read(list(content)) == content
    assert host.read([]) == {}


def test_lines_are_added_to_a_file(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "log"
    for line in ("one 'quoted'", "two $HOME"):
        host.append(line, path, 0o600)
    assert path.read_text() == "one 'quoted'\ntwo $HOME\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_port_is_free_until_somebody_listens_and_can_be_reached_then(host: Host) -> None:
    port = free_port()
    assert host.is_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)) as server:
        assert not host.is_free("127.0.0.1", port)
        assert not host.is_free("0.0.0.0", port)
        address, _, reached = host.forward(f"127.0.0.1:{port}").rpartition(":")
        with socket.create_connection((address, int(reached)), 10) as client:
            met, _ = server.accept()
            met.sendall(b"hello")
            assert client.recv(5) == b"hello"
            met.close()


def test_an_address_is_the_hosts_if_a_server_can_listen_there(host: Host) -> None:
    for own in ("127.0.0.1", "127.0.0.2", "0.0.0.0"):
        assert host.has_address(own)
    for foreign in ("203.0.113.9", "2001:db8::9"):
        assert not host.has_address(foreign)
        assert host.is_free(foreign, 443)


def test_the_environment_is_what_programs_have_there(host: Host) -> None:
    found = host.environment()
    assert host.run(["/bin/sh", "-c", "echo $HOME"]).text == found["HOME"]
    assert host.run(["/bin/sh", "-c", "echo $A$B"], env={**found, "A": "1", "B": "2 3"}).text == "12 3"


def test_a_program_of_any_length_has_our_files_as_its_streams(host: Host, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(os.urandom(5 << 20))
    with open(tmp_path / "in", "rb") as stdin, open(tmp_path / "out", "wb") as stdout:
        host.transfer(["sh", "-c", "pwd >&2; cat"], stdin=stdin, stdout=stdout, cwd=tmp_path)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
    with open(tmp_path / "out", "wb") as stdout:
        host.transfer(["sh", "-c", "cat; echo $A"], stdout=stdout, env={"A": "b", "PATH": os.environ["PATH"]})
    assert (tmp_path / "out").read_bytes() == b"b\n", "nothing to read is an input that has ended"


def test_one_that_fails_says_why_by_the_end_of_what_it_said(host: Host, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as stdout, pytest.raises(CommandFailed) as caught:
        host.transfer(
            [
                "sh",
                "-c",
                "head -c 200000 /dev/zero | tr '\\0' x >&2; echo half; echo ' the reason' >&2; exit 4",
            ],
            stdout=stdout,
        )
    assert (caught.value.returncode, caught.value.output.endswith("the reason")) == (4, True)
    assert len(caught.value.output) == pytest.approx(64 << 10, abs=200)
    assert (tmp_path / "out").read_bytes() == b"half\n"
    with pytest.raises(CommandFailed, match="the program nothing-of-that-name is not there"):
        host.transfer(["nothing-of-that-name"])


def test_a_file_is_read_as_a_stream(host: Host, tmp_path: Path) -> None:
    path, content = tmp_path / "it's a file", os.urandom(3 << 20)
    path.write_bytes(content)
    with host.open_read(path) as stream:
        assert stream.read(1 << 20) + stream.read() == content
    with host.open_read(path) as stream:
        assert stream.read(4) == content[:4], "the rest may be left"
    for missing in (tmp_path / "missing", tmp_path / "missing/below"):
        with (
            pytest.raises(ProvisionError, match="cannot be read: No such file") as caught,
            host.open_read(missing) as stream,
        ):
            stream.read()
        assert str(missing) in caught.value.where


def divide_by_nothing(stream: IO[bytes]) -> None:
    stream.write(b"half of it")
    raise ZeroDivisionError


def test_a_stream_becomes_a_file_whole_or_not_at_all(host: Host, tmp_path: Path) -> None:
    path, content = tmp_path / "new folder/it's a file", os.urandom(3 << 20)
    with host.open_write(path, 0o640) as stream:
        stream.write(content[: 1 << 20])
        stream.write(content[1 << 20 :])
        assert not path.exists()
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, 0o640)
    with pytest.raises(ZeroDivisionError), host.open_write(path, 0o600) as stream:
        divide_by_nothing(stream)
    own = CommandFailed("another program failed", argv=("x",), returncode=3)
    with (
        pytest.raises(CommandFailed, match="another program") as caught,
        host.open_write(path, 0o600) as stream,
    ):
        raise own
    assert caught.value is own
    with host.open_write(path, 0o600):
        pass
    assert path.read_bytes() == b""
    assert [one.name for one in path.parent.iterdir()] == [path.name], "nothing is left beside it"
    with (
        pytest.raises(ProvisionError, match="cannot be written") as refused,
        host.open_write(path / "below", 0o600) as stream,
    ):
        stream.write(content)
    assert str(path / "below") in refused.value.where
