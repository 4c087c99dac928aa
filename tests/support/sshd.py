"""A real SSH server of a test's own, and an `ssh` that knows it as a person's configuration would."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

SERVER = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Client:
    """A folder with what `~/.ssh` has, and an `ssh` on its own path that reads it."""

    folder: Path

    @property
    def path(self) -> str:
        """PATH with that `ssh` first."""
        return f"{self.folder / 'bin'}:{os.environ['PATH']}"

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def make(self) -> None:
        """The folder with a new key, and the programs."""
        (self.folder / "bin").mkdir(parents=True)
        make_key(self.key)
        self.known_hosts.touch()
        (self.folder / "config").touch()
        for program in ("ssh", "ssh-keyscan", "ssh-keygen"):
            real = shutil.which(program)
            options = f"-F {self.folder / 'config'} " if program == "ssh" else ""
            shim = self.folder / "bin" / program
            shim.write_text(f'#!/bin/sh\nexec {real} {options}"$@"\n')
            shim.chmod(0o755)

    def add_host(self, name: str, address: str, port: int, user: str, host_key: str) -> None:
        """The host as a person's configuration names it, and its key as a known one."""
        with open(self.folder / "config", "a", encoding="utf-8") as config:
            config.write(
                f"Host {name} {address}\n  HostName {address}\n  Port {port}\n  User {user}\n"
                f"  IdentityFile {self.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n"
                "  GlobalKnownHostsFile none\n"
            )
        self.know(address, port, host_key)

    def know(self, address: str, port: int, host_key: str) -> None:
        name = address if port == 22 else f"[{address}]:{port}"
        self.known_hosts.write_text(f"{name} {' '.join(host_key.split()[:2])}\n")


def make_key(path: Path) -> str:
    """A new key without a passphrase; gives its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return Path(f"{path}.pub").read_text()


@contextmanager
def local_sshd() -> Iterator[Client]:
    """An SSH server at this machine, for ourselves; the host is called `there`."""
    folder = Path(tempfile.mkdtemp(prefix="test-sshd-", dir="/tmp"))
    client = Client(folder / "client")
    client.make()
    host_key = make_key(folder / "host_key")
    authorized = folder / "authorized_keys"
    shutil.copy(f"{client.key}.pub", authorized)
    port = free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": authorized,
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    log = open(folder / "log", "wb")  # noqa: SIM115  closed below
    server = subprocess.Popen([str(SERVER), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        wait_for("127.0.0.1", port)
        client.add_host("there", "127.0.0.1", port, getpass.getuser(), host_key)
        yield client
    finally:
        server.terminate()
        server.wait(10)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(address: str, port: int, within: float = 20) -> None:
    """Returns once something listens there."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection((address, port), 1) as connection:
            connection.settimeout(2)
            if connection.recv(4) == b"SSH-":
                return
        time.sleep(0.1)
    raise AssertionError(f"no SSH server at {address}:{port} within {within:.0f} s")
