"""The command lines of ssh, whole; and what runs at their other end, in the shell that runs it there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provisioner.errors import CommandFailed
from provisioner.runtimes.docker import images as docker_images
from provisioner.runtimes.docker.cli import try_server_image
from provisioner.system import ssh_command

SOCKET = Path("/tmp/provision-ssh-x/s")
TO = "ana@192.0.2.10"


def sh(command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The command as a login shell there gets it."""
    return subprocess.run(["sh", "-c", command], input=stdin, capture_output=True, check=False, timeout=20)


def test_the_connection_is_the_users_own_and_never_asks_without_a_terminal() -> None:
    argv = ssh_command.connect(TO, SOCKET, interactive=False, asks_about_keys=False)
    assert argv[:-1] == [
        *(
            "ssh",
            "-M",
            "-S",
            str(SOCKET),
            "-o",
            "ConnectTimeout=20",
            "-o",
            "ServerAliveInterval=15",
            "-o",
            "ServerAliveCountMax=4",
        ),
        *(
            "-o",
            "RemoteCommand=none",
            "-o",
            "RequestTTY=no",
            "-o",
            "PermitLocalCommand=no",
            "-o",
            "ControlPersist=no",
        ),
        *("-o", "ClearAllForwardings=yes", "-o", "BatchMode=yes", "--", TO),
    ]
    assert "BatchMode=yes" not in ssh_command.connect(TO, SOCKET, interactive=True, asks_about_keys=False)
    assert not [part for part in argv if "StrictHostKeyChecking" in part or "UserKnownHostsFile" in part]
    assert "StrictHostKeyChecking=yes" in ssh_command.connect(
        TO, SOCKET, interactive=True, asks_about_keys=True
    )


def test_a_command_takes_the_shared_connection_or_none() -> None:
    assert ssh_command.over(TO, SOCKET, "true") == [
        *("ssh", "-S", str(SOCKET), "-o", "ControlMaster=no", "-o", "ProxyCommand=false"),
        *("-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no", "-T", "--", TO, "true"),
    ]
    assert ssh_command.forward(TO, SOCKET, 4000, "127.0.0.1:443") == [
        *("ssh", "-S", str(SOCKET), "-O", "forward", "-L", "127.0.0.1:4000:127.0.0.1:443", "--", TO)
    ]
    assert ssh_command.resolved(TO) == ["ssh", "-G", "--", TO]


@pytest.mark.parametrize("guarded", [False, True])
def test_a_program_there_gives_its_code_on_a_line_of_its_own(guarded: bool, tmp_path: Path) -> None:
    command = ssh_command.remote(
        ["sh", "-c", "pwd; echo $A >&2; exit 7"], tmp_path, {"A": "it's", "HOME": None}, guarded=guarded
    )
    done = subprocess.Popen(
        ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.wait(20) == 7
    assert done.stdout is not None
    assert done.stderr is not None
    assert done.stdin is not None
    assert done.stdout.read().decode().strip() == str(tmp_path)
    said, word = ssh_command.ended(done.stderr.read())
    assert (said, ssh_command.code_of(word)) == (b"it's\n", 7)
    for pipe in (done.stdin, done.stdout, done.stderr):
        pipe.close()


def test_a_directory_that_is_not_there_and_a_signal_are_told_apart(tmp_path: Path) -> None:
    done = sh(ssh_command.remote(["true"], tmp_path / "absent", {}))
    assert ssh_command.no_directory(ssh_command.ended(done.stderr)[1])
    done = sh(ssh_command.remote(["sh", "-c", "kill -9 $$"], None, {}))
    assert ssh_command.code_of(ssh_command.ended(done.stderr)[1]) == -9
    assert ssh_command.ended(b"no word of its end") == (b"no word of its end", "")


def test_half_a_file_is_not_put_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a b"
    path.write_bytes(b"old")
    assert sh(ssh_command.put(path, 10, 0o600), b"half").returncode != 0
    assert path.read_bytes() == b"old"
    assert sh(ssh_command.put(path, 4, 0o640), b"full").returncode == 0
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"full", 0o640)
    assert [found.name for found in tmp_path.iterdir()] == ["a b"]


@pytest.mark.parametrize(
    ("output", "what", "hint"),
    [
        (
            "Host key verification failed.",
            "the host key of 192.0.2.10 is not known here",
            "ssh-keyscan -p 2222 192.0.2.7 >>",
        ),
        (
            "ana@192.0.2.10: Permission denied (publickey).",
            "ana@192.0.2.10 takes none of your SSH keys",
            "ssh-copy-id ana@192.0.2.10",
        ),
        (
            "ssh: Could not resolve hostname x: Name or service not known",
            "the name 192.0.2.10 leads nowhere",
            "ssh ana@192.0.2.10",
        ),
        (
            "ssh: connect to host 192.0.2.10 port 22: Connection refused",
            "192.0.2.10 cannot be reached",
            "ssh ana@192.0.2.10",
        ),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @",
            "the host key of 192.0.2.10 is another than before",
            "ssh-keygen -R 192.0.2.10",
        ),
        ("something new", "no connection to ana@192.0.2.10", "ssh ana@192.0.2.10"),
    ],
)
def test_a_connection_that_fails_is_explained_with_the_command_that_mends_it(
    output: str, what: str, hint: str
) -> None:
    error = ssh_command.explained(
        CommandFailed("ssh failed", output=output), TO, {"hostname": "192.0.2.7", "port": "2222"}
    )
    assert error.what == what
    assert hint in error.hint
    assert error.exit_code == 4


def test_the_command_lines_about_images() -> None:
    assert docker_images.pull("caddy:2", "linux/arm64") == [
        "docker",
        "pull",
        "--quiet",
        "--platform",
        "linux/arm64",
        "caddy:2",
    ]
    assert docker_images.save(["a:1", "b:2"]) == ["docker", "save", "a:1", "b:2"]
    assert [docker_images.platform_of(name) for name in ("x86_64", "aarch64", "riscv64")] == [
        "linux/amd64",
        "linux/arm64",
        "linux/riscv64",
    ]
    assert try_server_image("mine:1")[:6] == ["docker", "run", "--rm", "--network", "none", "--read-only"]
