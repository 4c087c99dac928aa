"""A real S3 server of a test's own: MinIO on a free loopback port."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.go_programs import go_program
from tests.support.ports import free_port

KEY, SECRET = "a-test-of-s3", "its-secret-key-0123456789"


@dataclass(frozen=True)
class S3Server:
    """Where it is, and the key of its root."""

    url: str
    key: str = KEY
    secret: str = SECRET

    def client(self, key: str = "", secret: str = "") -> Any:
        """A client with that key, or with the root's."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=key or self.key,
            aws_secret_access_key=secret or self.secret,
            region_name="us-east-1",
        )


def start_minio(key: str = KEY, secret: str = SECRET, address: str = "127.0.0.1") -> Iterator[S3Server]:
    """The server, until the caller is done."""
    folder = tempfile.mkdtemp(prefix="minio-")
    port = free_port()
    argv = [str(go_program("minio")), "server", folder, "--address", f"{address}:{port}", "--quiet"]
    env = {"MINIO_ROOT_USER": key, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off", "HOME": folder}
    with (
        open(f"{folder}.log", "wb") as log,
        subprocess.Popen(argv, env=env, stdout=log, stderr=log) as process,
    ):
        try:
            server = S3Server(f"http://{address}:{port}", key, secret)
            _wait(server)
            yield server
        finally:
            process.terminate()
            process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)
            Path(f"{folder}.log").unlink()


def _wait(server: S3Server) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(Exception):
            server.client().list_buckets()
            return
        time.sleep(0.1)
    raise AssertionError("MinIO did not start")
