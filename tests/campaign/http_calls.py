"""Calls of HTTP for the operations of an OpenAPI document, drawn from a seed alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.campaign.values import Draw, Schema, Values, chance, text

JSON = "application/json"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "get")
DETOURS = (
    "//{}",
    "{}/",
    "{}/.",
    "{}%00",
    "{}%ff",
    "{}%zz",
    "{};a=b",
    "{}/..%2f..%2fhealth",
    "/static-files/..{}",
    "{}#x",
    "{}%0d%0aX-A:1",
)
QUERIES = (
    "%ff=%ff",
    "=&=&&",
    "a=%00",
    "max_results=1&max_results=x",
    "%zz=%",
    "x" * 4000,
    "path=..%2f..",
    "run_id=a&run_uuid=b",
    "a[]=1&a[b]=2",
)
BODIES: tuple[bytes, ...] = (
    b"",
    b"null",
    b"[]",
    b"17",
    b'"x"',
    b'"{}"',
    b"{",
    b"\xff\xfe{",
    b"\0",
    b"{}" * 20,
    b'{"a":' * 4000,
    b"[" * 100_000,
    b" " * 300_000,
)
BODIES += (
    b'{"a":1,"a":2}',
    b"a=1&b=2",
    b"\x1f\x8b\x08\0\0\0\0\0",
    b'{"max_results":1e5}',
    b"{'a': 1}",
    b'{"experiment_id":"0"}\0',
)
CONTENT_TYPES: tuple[str, ...] = (
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
)
CONTENT_TYPES += (
    "application/x-protobuf",
    "application/json; charset=utf-16",
    "application/json; charset=none",
    "x",
    "application/octet-stream",
)
HEADERS = (
    ("Accept", "text/html"),
    ("Accept-Encoding", "gzip;q=0, br, *"),
    ("Accept-Language", "x" * 2000),
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "x"),
    ("Cookie", "session=x; a=\xff"),
    ("Expect", "100-continue"),
    ("If-Modified-Since", "x"),
    ("If-None-Match", "*"),
    ("Origin", "https://evil.example"),
    ("Range", "bytes=5-1,-0,99999999999999999999-"),
    ("Upgrade", "websocket"),
    ("User-Agent", ""),
    ("User-Agent", "mlflow-python-client/99"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "x"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-MLflow-Authorization", "Basic x"),
    ("X-Mlflow-Experiment-Id", "\u00b2"),
    ("X-MLFLOW-WORKSPACE", "../x"),
    ("X-Requested-With", "XMLHttpRequest"),
    ("X-Odd", "\xff\xfe"),
)


@dataclass(frozen=True)
class Call:
    """One request; words in capitals stand for what exists. `where` says how it was drawn."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    where: str = ""

    def sent(self, host: str, known: Mapping[str, str], *more: tuple[str, str]) -> bytes:
        """Return the request's bytes, with what exists in place of its words."""
        body = _filled(self.body, known)
        headers = [("Host", host), *self.headers, *more, ("Connection", "close")]
        if body or self.method in {"POST", "PUT", "PATCH"}:
            headers.append(("Content-Length", str(len(body))))
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return _filled("\r\n".join(lines).encode("latin-1"), known) + b"\r\n\r\n" + body

    @property
    def path(self) -> str:
        """Return the target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Operation:
    """A method and a path with what it takes."""

    method: str
    path: str
    parameters: tuple[Schema, ...]
    body: Schema | None

    def drawn(self, values: Values, name: str, count: int) -> list[Call]:
        """Return so many calls, the same for the same name."""
        found: list[Call] = []

        @seed(Random(f"{name} {self.method} {self.path}").getrandbits(64))
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(_calls(self, values))
        def collect(call: Call) -> None:
            found.append(replace(call, where=f"{name}, {self.method} {self.path}, call {len(found) + 1}"))

        collect()
        return found


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Return the document's operations."""
    return list(_operations(document["paths"]))


def _operations(paths: Mapping[str, Mapping[str, Any]]) -> Iterator[Operation]:
    for path, methods in paths.items():
        for method, found in methods.items():
            contents = found.get("requestBody", {}).get("content", {})
            body = next((content.get("schema", {}) for content in contents.values()), None)
            yield Operation(method.upper(), path, tuple(found.get("parameters", ())), body)


def _filled(data: bytes, known: Mapping[str, str]) -> bytes:
    for word, value in known.items():
        data = data.replace(word.encode(), value.encode())
    return data


@st.composite
def _calls(draw: Draw, operation: Operation, values: Values) -> Call:
    """Draw a call as the operation has it, with something odd about one in four."""
    call = Call(operation.method, _target(draw, operation, values), tuple(_headers(draw, operation, values)))
    if operation.method not in {"GET", "HEAD"} or chance(draw, 5):
        kind, body = _body(draw, operation, values)
        call = replace(call, body=body, headers=(*call.headers, *((("Content-Type", kind),) if kind else ())))
    if chance(draw, 5):
        call = replace(call, method=draw(st.sampled_from(METHODS)))
    if chance(draw, 5):
        call = replace(call, target=draw(st.sampled_from(DETOURS)).format(call.target))
    if chance(draw, 12):
        call = replace(call, headers=(*call.headers, draw(st.sampled_from(HEADERS))))
    return call


def _target(draw: Draw, operation: Operation, values: Values) -> str:
    def in_path(found: re.Match[str]) -> str:
        return _quoted(
            text(draw, found[1]), "/" if found[1].endswith("path") and not chance(draw, 10) else ""
        )

    target = re.sub(r"\{(\w+)\}", in_path, operation.path)
    named = [parameter for parameter in operation.parameters if parameter["in"] == "query"]
    drawn = (
        values.properties(
            draw,
            {"type": "object", "properties": {known["name"]: known.get("schema", {}) for known in named}},
        )
        if named
        else {}
    )
    pairs = [
        (key, item)
        for key, value in drawn.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    query = "&".join(f"{_quoted(key)}={_quoted(_plain(value))}" for key, value in pairs)
    if chance(draw, 4):
        query = f"{query}&{draw(st.sampled_from(QUERIES))}"
    return f"{target}?{query}" if query else target


def _quoted(value: str, safe: str = "") -> str:
    return quote(value[:3000].encode("utf-8", "surrogatepass"), safe=safe)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _headers(draw: Draw, operation: Operation, values: Values) -> Iterator[tuple[str, str]]:
    for parameter in operation.parameters:
        # The type of the body is drawn with it.
        if (
            parameter["in"] == "header"
            and not parameter["name"].lower().startswith(("content-", "authorization"))
            and not chance(draw, 20)
        ):
            name = parameter["name"].replace("-", "_")
            # The proxy refuses a control character in the request's head,
            # and may close before the answer has arrived.
            drawn = _plain(values.value(draw, parameter.get("schema", {}), name))
            yield (
                parameter["name"],
                re.sub(r"[\x00-\x1f\x7f]", " ", drawn).encode("latin-1", "replace").decode("latin-1")[:3000],
            )


def _body(draw: Draw, operation: Operation, values: Values) -> tuple[str, bytes]:
    """Draw a body with its type."""
    if operation.body is None or chance(draw, 10):
        kind = draw(st.sampled_from((JSON, *CONTENT_TYPES)))
        return kind, draw(st.one_of(st.sampled_from(BODIES), st.binary(max_size=40)))
    body = values.value(draw, operation.body)
    dumped = json.dumps(body).encode()
    if chance(draw, 4):
        place = draw(st.integers(0, len(dumped)))
        dumped = dumped[:place] + draw(st.binary(max_size=3)) + dumped[place:]
    return (draw(st.sampled_from(CONTENT_TYPES)) if chance(draw, 4) else JSON), dumped
