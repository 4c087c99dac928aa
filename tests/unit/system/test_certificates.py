"""A certificate that a client refuses is explained; a trusted one is found at an address not its name's."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from provisioner.errors import PreflightError
from provisioner.kedro.experiment import UNKNOWN
from provisioner.kedro.server_report import server_report
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import build_stack
from provisioner.runtimes.tls_files import certificate_files
from provisioner.system.certificates import clients_ca_file, is_for, read_chain
from provisioner.system.http import Rest, RestError
from tests.support.certificates import Authority, write_pair

NAME = "mlflow.example.com"
AUTHORITY = Authority("Company CA")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def served(folder: Path, certificate: bytes, key: bytes) -> Iterator[int]:
    """The port of a server with that certificate."""
    write_pair(folder, certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def rest(port: int, trusted: bytes | None = AUTHORITY.root, name: str = NAME) -> Rest:
    return Rest(
        f"https://{name}:{port}",
        connect=f"127.0.0.1:{port}",
        trusted=trusted or clients_ca_file("", {}),
        timeout=5,
    )


def test_a_name_is_reached_at_another_address_and_still_verified(tmp_path: Path) -> None:
    with served(tmp_path, *AUTHORITY.issue(NAME)) as port:
        assert rest(port).get_bytes("/") == f"{NAME}:{port}".encode()


@pytest.mark.parametrize(
    ("names", "lasts", "trusted", "said", "hint"),
    [
        ([NAME], timedelta(days=-2), AUTHORITY.root, f"the certificate of {NAME} expired on", "renew it"),
        (
            ["a.example.com", "192.0.2.1"],
            timedelta(1),
            AUTHORITY.root,
            "the certificate is for a.example.com, 192.0.2.1, not for",
            "server.public_url",
        ),
        (
            [NAME],
            timedelta(1),
            None,
            f"the certificate of {NAME}, signed by CN=Company CA, is not trusted here",
            "--ca-file",
        ),
        (
            [NAME],
            timedelta(1),
            Authority("Another CA").root,
            f"the certificate of {NAME}, signed by CN=Company CA, is not trusted",
            "--ca-file",
        ),
    ],
    ids=["expired", "name", "unknown", "other-authority"],
)
def test_a_refused_certificate_is_explained(
    tmp_path: Path, names: list[str], lasts: timedelta, trusted: bytes | None, said: str, hint: str
) -> None:
    with served(tmp_path, *AUTHORITY.issue(*names, lasts=lasts)) as port, pytest.raises(RestError) as refused:
        rest(port, trusted).get_bytes("/")
    assert said in refused.value.message
    assert hint in refused.value.hint
    assert refused.value.permanent


def test_doctor_says_it_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.root)
    with served(tmp_path / "server", *AUTHORITY.issue(NAME)) as port:
        report = server_report(f"https://localhost:{port}", UNKNOWN, ca_file=str(tmp_path / "ca.pem"))
    assert f"the certificate is for {NAME}, not for localhost" in report.seen
    assert "use the name" in report.hint


def test_a_file_of_certificates_that_is_none_is_an_error_of_the_call(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "absent.pem"):
        with pytest.raises(RestError, match="cannot be used"):
            Rest("https://localhost:9", trusted=tmp_path / name).get_bytes("/")


def test_clients_trust_the_file_given_then_the_variables_of_requests_then_its_own() -> None:
    variables = {"CURL_CA_BUNDLE": "/c", "REQUESTS_CA_BUNDLE": "/r"}
    assert clients_ca_file("/given", variables) == Path("/given")
    assert clients_ca_file("", variables) == Path("/r")
    assert clients_ca_file("", {"CURL_CA_BUNDLE": "/c"}) == Path("/c")
    assert str(clients_ca_file("", {})).endswith("cacert.pem")


@pytest.mark.parametrize(
    ("pattern", "host", "covers"),
    [("*.example.com", NAME, True), ("*.example.com", "a.b.example.com", False), (NAME, NAME.upper(), True)],
)
def test_which_names_a_certificate_covers(pattern: str, host: str, covers: bool) -> None:
    assert is_for(read_chain(AUTHORITY.issue(pattern)[0])[0], host) is covers


@pytest.mark.parametrize("fault", ["absent", "no pem", "other key", "no key", "locked key"])
def test_files_that_cannot_be_used_are_refused_before_anything_starts(tmp_path: Path, fault: str) -> None:
    certificate, key = AUTHORITY.issue(NAME)
    said = {
        "absent": "server.tls_certificate is not there",
        "no pem": "no certificate can be read",
        "other key": "does not belong",
        "no key": "cannot be read",
        "locked key": "cannot be read",
    }[fault]
    if fault == "no pem":
        certificate = b"text"
    if fault == "other key":
        key = AUTHORITY.issue(NAME)[1]
    if fault == "no key":
        key = b"text"
    if fault == "locked key":
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            PrivateFormat,
            load_pem_private_key,
        )

        key = load_pem_private_key(key, None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        )
    write_pair(tmp_path, certificate, key)
    if fault == "absent":
        (tmp_path / "cert.pem").unlink()
    text = (
        f"server:\n  auth: basic\n  tls: files\n  public_url: https://{NAME}\n"
        "  tls_certificate: cert.pem\n  tls_key: key.pem\n"
    )
    with pytest.raises(PreflightError, match=said):
        certificate_files(build_stack(parse_settings(text), "docker"), tmp_path)
