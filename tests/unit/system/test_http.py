"""The REST client against a real HTTP server: what it sends, what it takes, one error for each failure."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from provisioner.system.http import Rest, RestError

SEEN: list[dict[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    """Answers by path; `/echo` gives back what came."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        SEEN.append(dict(self.headers) | {"path": self.path})
        answers = {
            "/empty": (200, b"", {}),
            "/list": (200, b"[1]", {}),
            "/html": (200, b"<html>\n  hello </html>", {}),
            "/mlflow": (400, b'{"error_code": "INVALID", "message": "no such run"}', {}),
            "/code": (404, b'{"error_code": "NOT_FOUND"}', {}),
            "/page": (502, b"<h1>bad\n\n gateway</h1>" + b"x" * 1000, {}),
            "/bare": (503, b"", {}),
            "/away": (302, b"", {"Location": "/echo"}),
            "/short": (200, b"12", {"Content-Length": "100"}),
        }
        echoed = json.dumps(
            {"method": self.command, "body": body.decode("latin-1"), "path": self.path}
        ).encode()
        status, content, headers = answers.get(self.path.partition("?")[0], (200, echoed, {}))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def failure(call: Callable[[], object]) -> RestError:
    with pytest.raises(RestError) as caught:
        call()
    return caught.value


def test_json_goes_there_and_comes_back(uri: str) -> None:
    answer = Rest(uri).call("POST", "/echo?a=1", {"x": "ä"})
    assert answer == {"method": "POST", "body": '{"x": "\\u00e4"}', "path": "/echo?a=1"}
    assert SEEN[-1]["Content-Type"] == "application/json"


def test_nothing_sent_has_no_type_and_an_empty_answer_is_an_empty_object(uri: str) -> None:
    assert Rest(uri).call("GET", "/empty") == {}
    assert "Content-Type" not in SEEN[-1]


def test_an_answer_that_is_no_object_is_kept_as_its_value(uri: str) -> None:
    assert Rest(uri).call("GET", "/list") == {"value": [1]}


def test_bytes_go_there_and_come_back_as_they_are(uri: str) -> None:
    rest = Rest(uri)
    rest.put_bytes("/echo", b"\x00\xff")
    assert (SEEN[-1]["Content-Type"], SEEN[-1]["Content-Length"]) == ("application/octet-stream", "2")
    assert rest.get_bytes("/html") == b"<html>\n  hello </html>"


@pytest.mark.parametrize(
    ("path", "sent"),
    [("/a b", "/a%20b"), ("/a%20b", "/a%20b"), ("/ä", "/%C3%A4"), ("/q?f=x y&g=[1]", "/q?f=x%20y&g=[1]")],
)
def test_a_path_is_encoded_once(uri: str, path: str, sent: str) -> None:
    assert Rest(uri).call("GET", path)["path"] == sent


def test_host_origin_and_login_are_sent_as_told(uri: str) -> None:
    rest = Rest(
        f"{uri}/", host="ml.example.com", origin="https://ml.example.com", username="ana", password="ü:"
    )
    rest.call("GET", "/echo")
    token = base64.b64encode("ana:ü:".encode()).decode()
    assert (SEEN[-1]["Host"], SEEN[-1]["Origin"], SEEN[-1]["Authorization"]) == (
        "ml.example.com",
        "https://ml.example.com",
        f"Basic {token}",
    )
    rest.anonymous().call("GET", "/echo")
    assert "Authorization" not in SEEN[-1]
    assert SEEN[-1]["Host"] == "ml.example.com"
    rest.call("GET", "/echo")
    assert "Authorization" in SEEN[-1]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/mlflow", 400, "no such run"),
        ("/code", 404, "NOT_FOUND"),
        ("/bare", 503, "Service Unavailable"),
        ("/away", 302, "Found"),
    ],
)
def test_a_refusal_has_its_code_and_the_servers_own_words(
    uri: str, path: str, status: int, message: str
) -> None:
    error = failure(lambda: Rest(uri).call("GET", path))
    assert (error.status, error.message) == (status, message)
    assert str(error) == f"{status} {message}"


def test_a_page_of_somebody_else_is_shown_in_short(uri: str) -> None:
    error = failure(lambda: Rest(uri).call("GET", "/page"))
    assert error.message.startswith("<h1>bad gateway</h1>xxx")
    assert len(error.message) == 300


def test_a_login_does_not_follow_where_an_answer_points(uri: str) -> None:
    failure(lambda: Rest(uri, username="ana", password="pw").get_bytes("/away"))
    assert SEEN[-1]["path"] == "/away"


def test_an_answer_that_is_no_json_is_said(uri: str) -> None:
    error = failure(lambda: Rest(uri).call("GET", "/html"))
    assert error.status == 0
    assert "answered something that is not JSON: <html> hello </html>" in str(error)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9", "Connection refused"),
        ("http://no-such-host.invalid", "does not answer"),
        ("no address", "does not answer"),
        ("http://127.0.0.1:port", "does not answer"),
    ],
)
def test_a_server_that_is_not_there_is_said(address: str, said: str) -> None:
    error = failure(lambda: Rest(address, timeout=3).call("GET", "/"))
    assert error.status == 0
    assert str(error).startswith(f"{address} does not answer: ")
    assert said in str(error)


def test_an_answer_that_breaks_off_is_said(uri: str) -> None:
    assert "does not answer" in str(failure(lambda: Rest(uri, timeout=1).get_bytes("/short")))


def test_no_proxy_is_taken(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert Rest(uri).call("GET", "/echo")["method"] == "GET"
