"""Bootstrap as a program of its own, and a MinIO that forgets."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.s3_server import S3Server

SERVER = Path(__file__).parents[2] / "deploy"
BUCKET_ALONE = (
    "import sys; sys.path.insert(0, sys.argv[1])\n"
    "from provision_server.stores.artifacts_s3 import prepare_bucket; "
    "from provision_server.settings import Fault, read_settings\n"
    "try:\n    prepare_bucket(read_settings(), lambda verb, subject: print(verb, subject))\n"
    "except Fault as fault:\n    sys.exit(f'bootstrap: {fault}')"
)


@dataclass
class Server:
    """The server's own program with an environment and secrets of a test's own."""

    python: str
    secrets: Path
    variables: dict[str, str] = field(default_factory=dict)

    def give(self, **secrets: str) -> None:
        self.secrets.mkdir(exist_ok=True)
        for name, value in secrets.items():
            (self.secrets / name).write_text(value)

    def bucket(self) -> subprocess.CompletedProcess[str]:
        """The part of bootstrap that deals with the bucket."""
        return self._run("-c", BUCKET_ALONE, str(SERVER))

    def bootstrap(self) -> subprocess.CompletedProcess[str]:
        """All of it."""
        return self._run(str(SERVER / "provision_server"), "bootstrap")

    def bootstraps_at_once(self, number: int) -> list[subprocess.CompletedProcess[str]]:
        """All of it, so often side by side."""
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(lambda _: self.bootstrap(), range(number)))

    def probe(self, topic: str) -> subprocess.CompletedProcess[str]:
        """A question, as it is asked beside a running server."""
        return self._run(str(SERVER / "provision_server"), "probe", topic)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.secrets.parent),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PROVISION_SECRETS": str(self.secrets),
            "PROVISION_DEADLINE": "2",
            "PROVISION_BACKEND_STORE": "postgresql+psycopg2://mlflow@/mlflow?host=/nowhere",
            "PROVISION_ARTIFACTS_DESTINATION": str(self.secrets.parent / "artifacts"),
        }
        argv = [self.python, *arguments]
        return subprocess.run(
            argv, env=environment | self.variables, capture_output=True, text=True, check=False, timeout=120
        )


@contextlib.contextmanager
def forgetful(minio: S3Server) -> Iterator[tuple[str, list[str]]]:
    """The address of a front of that MinIO, and its requests' paths; the first policy it takes, and forgets.

    So does MinIO itself when it is asked before it has read what it has.
    """
    asked: list[str] = []

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            asked.append(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if asked[-1].endswith("/add-canned-policy") and asked.count(asked[-1]) == 1:
                self.answer(200, b"")
                return
            connection = http.client.HTTPConnection(minio.url.removeprefix("http://"), timeout=20)
            connection.request(self.command, self.path, body, dict(self.headers))
            reply = connection.getresponse()
            self.answer(reply.status, reply.read())
            connection.close()

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

        do_GET = do_PUT = do_POST = do_HEAD = forward

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
