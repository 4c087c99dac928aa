"""A real ACME server of a test's own: Pebble, with a DNS server that leads every name to one address."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Authority, write_pair
from tests.support.go_programs import go_program
from tests.support.ports import free_port


@dataclass(frozen=True)
class Acme:
    """Its directory, and the certificates to trust: of its own address, and the root that it signs with."""

    directory: str
    trusted: bytes


@contextlib.contextmanager
def pebble(address: str, http_port: int, tls_port: int, leads_to: str = "127.0.0.1") -> Iterator[Acme]:
    """The server at that address of this machine; its challenges come to these ports of the other address."""
    folder = Path(tempfile.mkdtemp(prefix="pebble-"))
    authority = Authority("Pebble's own CA")
    write_pair(folder, *authority.issue(address, "localhost"))
    (folder / "ca.pem").write_bytes(authority.root)
    listen, manage, dns = free_port(), free_port(), free_port()
    config = {
        "listenAddress": f"{address}:{listen}",
        "managementListenAddress": f"{address}:{manage}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": http_port,
        "tlsPort": tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    names = [
        str(go_program("pebble-challtestsrv")),
        "-defaultIPv4",
        leads_to,
        "-defaultIPv6",
        "",
        "-dnsserver",
        f"127.0.0.1:{dns}",
    ]
    names += [
        "-http01",
        "",
        "-https01",
        "",
        "-tlsalpn01",
        "",
        "-doh",
        "",
        "-management",
        f"127.0.0.1:{free_port()}",
    ]
    server = [
        str(go_program("pebble")),
        "-config",
        str(folder / "config.json"),
        "-dnsserver",
        f"127.0.0.1:{dns}",
    ]
    env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with open(folder / "log", "wb") as log:
        running = [subprocess.Popen(argv, env=env, stdout=log, stderr=log) for argv in (names, server)]
        try:
            root = _get(f"https://{address}:{manage}/roots/0", folder)
            yield Acme(f"https://{address}:{listen}/dir", authority.root + root)
        finally:
            for process in running:
                process.terminate()
                process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)


def _get(url: str, folder: Path) -> bytes:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(OSError), opener.open(url) as got:
            return bytes(got.read())
        time.sleep(0.1)
    raise AssertionError((folder / "log").read_text())
