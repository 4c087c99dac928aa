"""A client that verifies, reaches a proxy at this machine, and names it as it likes."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """`name` is what the URL would have; the connection goes to `address`."""

    port: int
    name: str = "127.0.0.1"
    address: str = "127.0.0.1"
    ca: Path | None = None
    tls: bool = True
    login: tuple[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 30

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """The answer; ssl.SSLError where the certificate is not trusted."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        sent.setdefault("Host", f"{self.name}:{self.port}")
        if self.login:
            sent.setdefault("Authorization", basic(*self.login))
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.name, self.port)
        connection.sock = self.connect()
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            return Answer(
                answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    def connect(self, **limits: ssl.TLSVersion) -> socket.socket:
        """A connection on which nothing was said yet."""
        plain = socket.create_connection((self.address, self.port), timeout=self.timeout)
        if not self.tls:
            return plain
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        for name, value in limits.items():
            setattr(context, name, value)
        return context.wrap_socket(plain, server_hostname=self.name)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def own_address() -> str:
    """This machine's first address that is no loopback address; loopback where it has no other."""
    import psutil

    for name, found in sorted(psutil.net_if_addrs().items()):
        for known in found:
            if (
                known.family == socket.AF_INET
                and not known.address.startswith("127.")
                and not name.startswith(("docker", "br-", "veth"))
            ):
                return known.address
    return "127.0.0.1"
