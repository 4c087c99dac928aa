"""A relay before PostgreSQL, which counts how often it is asked."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.embedded import PASSWORD, SUPERUSER


@dataclass
class Relay:
    """Listens on a loopback port; `questions` are the statements, each of which a client waits for."""

    port: int
    questions: list[str] = field(default_factory=list)
    loses: str = ""
    """The connection is lost before the answer to the next question that has this in it."""
    answering: list[threading.Thread] = field(default_factory=list)

    def uri(self, database: str) -> str:
        """The database's, as the superuser; without TLS, through which nothing could be counted."""
        login = f"{SUPERUSER}:{PASSWORD}"
        return f"postgresql+psycopg2://{login}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    @property
    def open(self) -> bool:
        """Whether a client has a connection to PostgreSQL."""
        return any(thread.is_alive() for thread in self.answering)

    @contextlib.contextmanager
    def counted(self) -> Iterator[list[str]]:
        """What is asked until the caller is done."""
        self.questions.clear()
        yield self.questions


@contextlib.contextmanager
def relayed(port: int) -> Iterator[Relay]:
    """A relay before PostgreSQL's port, until the caller is done."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as connections:
        relay = Relay(listener.getsockname()[1])

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection(("127.0.0.1", port))
                    for one in (client, server):
                        connections.callback(_close, one)
                    _start(_forward_questions, client, server, relay)
                    relay.answering.append(_start(_forward, server, client, relay))

        _start(accept)
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _start(work: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _forward_questions(client: socket.socket, server: socket.socket, relay: Relay) -> None:
    """The first message has no letter; of those after it `Q` is a statement."""
    with contextlib.suppress(OSError, EOFError):
        first = True
        while True:
            letter = b"" if first else _read(client, 1)
            size = _read(client, 4)
            body = _read(client, struct.unpack("!I", size)[0] - 4)
            if letter == b"Q":
                relay.questions.append(body.rstrip(b"\0").decode())
            # libpq asks for encryption before anything else, and then once more begins.
            first = first and struct.unpack("!I", body[:4])[0] in {80877103, 80877104}
            server.sendall(letter + size + body)
    _close(server)


def _forward(server: socket.socket, client: socket.socket, relay: Relay) -> None:
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            if relay.loses and relay.questions and relay.loses in relay.questions[-1]:
                relay.loses = ""
                break
            client.sendall(data)
    _close(client)


def _read(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
