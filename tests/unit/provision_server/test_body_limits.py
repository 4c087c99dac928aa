"""What a request's body may be once it is unpacked: refused before MLflow makes objects of it."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from provision_server.messages import USER, Refused
from provision_server.web.body_limits import (
    BLOCK,
    MOST,
    MOST_IN_A_ROW,
    MOST_MESSAGES,
    MOST_OF_STRANGER,
    MOST_SPANS,
    MOST_VALUES,
    SMALL,
    bounded,
    check_spans,
    check_values,
    unpacked,
)
from provision_server.web.traces import NotOpenTelemetry, count_in_protobuf
from provisioner.runtimes.caddyfile import MOST_OF_A_BODY, TOO_LARGE
from tests.support.asgi import Answer, asked, pieces, scope_of

UPLOAD = "/api/2.0/mlflow-artifacts/artifacts/1/x"
JSON = {"content-type": "application/json"}
PROTOBUF = {"content-type": "application/x-protobuf"}


def test_the_proxy_has_the_same_limit_and_the_same_words() -> None:
    with pytest.raises(Refused) as refusal:
        unpacked(gzip.compress(b"x" * (MOST + 1)), "gzip")
    assert (MOST, json.loads(refusal.value.answer.body)["message"]) == (MOST_OF_A_BODY, TOO_LARGE)


def test_the_page_about_limits_has_these() -> None:
    page = (Path(__file__).parents[3] / "docs/explanation/limits.md").read_text()
    for limit in (f"{MOST // 1_000_000} MB", f"{MOST_VALUES:,}", f"{MOST_SPANS:,}, and {MOST_MESSAGES:,}"):
        assert f"| {limit} |" in page


def raw_deflate(body: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(body) + engine.flush()


PACKED = {
    "gzip": ("gzip", gzip.compress),
    "several in a row": ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    "padded": ("gzip", lambda body: gzip.compress(body) + b"\0" * 8),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}


@pytest.mark.parametrize("form", PACKED)
def test_a_packed_body_is_unpacked_up_to_the_limit_and_no_further(form: str) -> None:
    coding, pack = PACKED[form]
    for size in (0, 10, 1_000_000, MOST):
        assert unpacked(pack(b"x" * size), coding) == b"x" * size
    with pytest.raises(Refused) as refusal:
        unpacked(pack(b"x" * (MOST + 1)), coding)
    assert refusal.value.answer.status == 413
    assert "20 MB" in str(refusal.value)


@pytest.mark.parametrize("form", PACKED)
def test_a_packed_body_that_is_cut_off_or_broken_is_refused(form: str) -> None:
    coding, pack = PACKED[form]
    whole = pack(b"some text of a trace" * 50)
    for broken in (whole.rstrip(b"\0")[:-3], b"\x01" + whole, b"no gzip", b"\0"):
        with pytest.raises(zlib.error):
            unpacked(broken, coding)


def test_many_packed_bodies_in_a_row_are_none() -> None:
    one = gzip.compress(b"x")
    assert unpacked(one * MOST_IN_A_ROW, "gzip") == b"x" * MOST_IN_A_ROW
    with pytest.raises(zlib.error):
        unpacked(one * (MOST // len(one)), "gzip")


def test_values_are_counted_outside_of_texts() -> None:
    for size in range(BLOCK - 40, BLOCK + 40):
        # A text over the border of what is looked at in one go, with quotes on it.
        check_values(b'["' + b"x" * size + b'\\"",' + b'"' + b",[{" * MOST_VALUES + b'"]')
    check_values(b"[" + b"0," * (MOST_VALUES - 1) + b"0]")
    check_values(json.dumps({"profile": "1,[{" * MOST_VALUES, "a": '\\",["'}).encode())
    for many in (b"0,", b"[],", b"{},", b'"a",', b'"\\",",'):
        with pytest.raises(Refused) as refusal:
            check_values(b"[" + many * (MOST_VALUES + 1) + b"0]")
        assert refusal.value.answer.status == 413


def exported(spans: int, attributes: int = 0) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for _ in range(spans):
        span = scope.spans.add(
            name="a span", trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=1 << 62
        )
        for number in range(attributes):
            span.attributes.add(key=f"key {number}").value.string_value = "ü" * 100
    return request


def test_spans_and_what_is_in_them_are_counted_on_the_wire() -> None:
    nested = exported(3, 4)
    nested.resource_spans[0].resource.attributes.add(
        key="list"
    ).value.array_value.values.add().double_value = 0.5
    nested.resource_spans[0].scope_spans[0].spans[0].events.add(name="event").attributes.add(key="fixed")
    # The resource and its attribute, list and item; scope, spans, attributes and their values; an event and
    # its attribute.
    assert count_in_protobuf(nested.SerializeToString(), 1000) == (
        3,
        1 + 1 + 1 + 1 + 1 + 1 + 1 + 3 + 2 * 12 + 2,
    )
    assert count_in_protobuf(b"", 1000) == (0, 0)


def wrapped(field: int, inner: bytes) -> bytes:
    size, length = len(inner), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + inner


def test_a_few_bytes_never_become_many_spans_or_attributes() -> None:
    check_spans(exported(MOST_SPANS).SerializeToString(), json_coded=False)
    check_spans(exported(512, 100).SerializeToString(), json_coded=False)
    empty_spans = wrapped(1, wrapped(2, b"\x12\x00" * (MOST_SPANS + 1)))
    empty_attributes = wrapped(1, wrapped(2, wrapped(2, b"\x4a\x00" * (MOST_MESSAGES + 1))))
    numbers = wrapped(1, wrapped(2, wrapped(2, b"\x80\x01\x00" * 5 * MOST_MESSAGES)))
    in_json = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{}] * (MOST_SPANS + 1)}]}]}).encode()
    for body, is_json in ((empty_spans, False), (numbers, False), (empty_attributes, False), (in_json, True)):
        with pytest.raises(Refused) as refusal:
            check_spans(body, json_coded=is_json)
        assert refusal.value.answer.status == 413


def test_what_the_count_lets_through_is_read_by_protobuf_as_it_was_counted() -> None:
    rnd = random.Random(7)
    whole = bytearray(exported(3, 3).SerializeToString())
    read = 0
    for _ in range(3000):
        body = bytearray(whole)
        for _ in range(rnd.randrange(1, 4)):
            body[rnd.randrange(len(body))] = rnd.randrange(256)
        request = ExportTraceServiceRequest()
        try:
            check_spans(bytes(body), json_coded=False)
            request.ParseFromString(bytes(body))
        except (NotOpenTelemetry, DecodeError):
            continue
        read += 1
        spans = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
        assert spans == count_in_protobuf(bytes(body), MOST_MESSAGES)[0]
    assert read > 200


@pytest.mark.parametrize(
    "body", [b"{", b'{"resourceSpans": 3}', b'{"resourceSpans": [3]}', b"[" * 100_000, b"[]"]
)
def test_json_that_is_no_trace_is_seen(body: bytes) -> None:
    with pytest.raises(NotOpenTelemetry):
        check_spans(body, json_coded=True)


def ask(
    body: bytes,
    method: str = "POST",
    path: str = "/api/3.0/x",
    headers: dict[str, str] | None = None,
    told: bool = True,
    user: str | None = None,
) -> tuple[Answer, bytes | None, dict[str, str]]:
    """The answer, and the body and headers that the application was handed, None when it was not asked."""
    handed: list[tuple[bytes, dict[str, str]]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message["body"])
            more = message["more_body"]
        handed.append((b"".join(parts), {name.decode(): value.decode() for name, value in scope["headers"]}))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    length = {"content-length": str(len(body))} if told else {"transfer-encoding": "chunked"}
    scope = scope_of(
        method, path, {**length, **(headers or {})}.items(), **({} if user is None else {USER: user})
    )
    answer = asked(bounded(application), scope, pieces(body, SMALL))
    return answer, *(handed[0] if handed else (None, {}))


@pytest.mark.parametrize("told", [False, True])
def test_a_call_is_handed_its_whole_body_and_no_larger_one(told: bool) -> None:
    for size in (0, 10, SMALL + 1, MOST):
        answer, handed, _ = ask(b"x" * size, told=told)
        assert (answer.status, handed) == (200, b"x" * size)
    for path in ("/gateway/x/mlflow/invocations", "/api/3.0/mlflow/mcp-servers", "/v1/traces", "/nothing"):
        assert_refused(ask(b"x" * (MOST + 1), path=path, headers=JSON, told=told))
    assert_refused(ask(b"[" + b"0," * (MOST_VALUES + 1), told=told))


def assert_refused(asked: tuple[Answer, bytes | None, dict[str, str]]) -> None:
    answer, handed, _ = asked
    assert (answer.status, handed) == (413, None)
    document = json.loads(answer.body)
    assert document["error_code"] == "INVALID_PARAMETER_VALUE"
    assert "several requests" in document["message"]


def test_a_file_that_the_page_uploads_may_hold_any_number_of_commas() -> None:
    body = b"," * (MOST_VALUES + 10)
    assert ask(body, path="/ajax-api/2.0/mlflow/upload-artifact")[1] == body


@pytest.mark.parametrize("told", [False, True])
def test_an_uploaded_artifact_has_any_size(told: bool) -> None:
    body = b"," * (MOST + 1)
    for path in (UPLOAD, f"{UPLOAD}%0A"):
        answer, handed, _ = ask(body, "PUT", path, told=told)
        assert (answer.status, handed) == (200, body)
    assert_refused(ask(body, "DELETE", UPLOAD, told=told))


def test_packed_traces_are_handed_on_unpacked() -> None:
    body = exported(3, 3).SerializeToString()
    for coding, packed in (
        ("gzip", gzip.compress(body)),
        ("DEFLATE", zlib.compress(body)),
        ("gzip", gzip.compress(body * 2000)),
    ):
        answer, handed, seen = ask(
            packed, path="/v1/traces", headers={**PROTOBUF, "content-encoding": coding}
        )
        assert answer.status == 200
        assert handed == (body if len(packed) < 10_000 else body * 2000)
        assert "content-encoding" not in seen
    # MLflow says what it takes.
    assert ask(body, path="/v1/traces", headers={**PROTOBUF, "content-encoding": "br"})[1] == body


def test_of_broken_traces_mlflow_sees_only_that_they_are() -> None:
    many = wrapped(1, wrapped(2, b"\x12\x00" * (MOST_SPANS + 1)))
    for body, headers in (
        (many + b"\x0f", PROTOBUF),
        (b"{", JSON),
        (gzip.compress(many * 50)[:-9], {**PROTOBUF, "content-encoding": "gzip"}),
        (b"no deflate", {**PROTOBUF, "content-encoding": "deflate"}),
    ):
        _, handed, seen = ask(body, path="/v1/traces", headers=headers)
        assert handed == b"\0"
        assert seen.get("content-encoding") == headers.get("content-encoding")


def test_a_stranger_is_not_waited_for() -> None:
    small, larger = b"x" * MOST_OF_STRANGER, b"x" * (MOST_OF_STRANGER + 1)
    for told in (True, False):
        answer, handed, _ = ask(larger, told=told, user="")
        assert (answer.status, handed) == (401, None)
        assert ask(small, told=told, user="")[1] == small
        assert ask(larger, told=told, user="ana")[1] == larger


def test_a_bomb_of_traces_is_refused() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, 1)
    assert len(bomb) < 1_000_000
    for headers in (PROTOBUF, JSON):
        assert_refused(ask(bomb, path="/v1/traces", headers={**headers, "content-encoding": "gzip"}))
    spans = gzip.compress(wrapped(1, wrapped(2, b"\x12\x00" * 9_000_000)))
    assert_refused(ask(spans, path="/v1/traces", headers={**PROTOBUF, "content-encoding": "gzip"}))


def test_a_client_that_leaves_before_its_body_is_whole_is_no_request() -> None:
    called = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)

    answer = asked(
        bounded(application),
        scope_of("POST", "/x", {"content-length": "10"}.items()),
        [{"type": "http.disconnect"}],
    )
    assert (answer.status, called) == (0, [])
