"""How large a request's body may be, and of how many values once it is read.

MLflow reads any body whole, unpacks it and makes objects of it: a few megabytes can become gigabytes of a
process that serves everybody. An uploaded artifact has any size, since it goes to its place piece by piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from collections.abc import Awaitable, Callable

from provision_server.messages import (
    USER,
    ClientLeft,
    Message,
    Receive,
    Refused,
    Send,
    header_values,
    mlflow_error,
    next_part,
    not_in,
    with_headers,
)
from provision_server.web.shares import Share, Shares, client_of
from provision_server.web.traces import NotOpenTelemetry, count_in_json, count_in_protobuf

MOST = 20_000_000
# What is larger is looked at one at a time.
SMALL = 256_000
# A stranger's body.
MOST_OF_STRANGER = SMALL
MOST_VALUES = 1_000_000
BLOCK = 1 << 16
PIECE = 1 << 20
MOST_MESSAGES = 200_000
MOST_SPANS = 10_000
# Each costs a copy of what comes after it.
MOST_IN_A_ROW = 100
TRACES = "/v1/traces"
_UPLOAD = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts/.+", re.DOTALL)
# Its body is a file, at most 10 MB of it.
_UPLOAD_BY_PAGE = re.compile(r"/(?:ajax-)?api/2\.0/mlflow/upload-artifact")
_PROTOBUF = "application/x-protobuf"
# In no coding, and in no form, what a request of traces has.
_BROKEN = b"\0"
# zlib's windows: of gzip; of deflate as the standard has it, and as some send it.
_WINDOWS = {"gzip": (31,), "deflate": (15, -15)}
_TOO_LARGE = (
    f"The body is larger than {MOST // 1_000_000} MB; "
    "send it in several requests, or as an artifact, which has any size."
)
_TOO_MANY = f"The body has more than {MOST_VALUES:,} values; send it in several requests."
_TOO_MANY_SPANS = (
    f"The body has more than {MOST_SPANS:,} spans, or {MOST_MESSAGES:,} attributes and values; "
    "send it in several requests."
)


def _too_much(message: str) -> Refused:
    return Refused(mlflow_error(413, "INVALID_PARAMETER_VALUE", message))


def check_values(body: bytes) -> None:
    """Raise Refused when the body, as JSON, has too many values.

    Commas and brackets in its texts do not count.
    """
    if _marks(body) > MOST_VALUES and _marks_between_texts(body) > MOST_VALUES:
        raise _too_much(_TOO_MANY)


def _marks(text: bytes) -> int:
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


def _marks_between_texts(body: bytes) -> int:
    # Without these every other quote ends a text.
    bare = body.replace(rb"\\", b"").replace(rb"\"", b"")
    count = inside = 0
    for at in range(0, len(bare), BLOCK):
        pieces = bare[at : at + BLOCK].split(b'"')
        count += _marks(b"".join(pieces[inside::2]))
        inside ^= (len(pieces) - 1) % 2
    return count


def check_spans(body: bytes, *, json_coded: bool) -> None:
    """Raise Refused when the body has too many spans, or its spans too much in them.

    Raise NotOpenTelemetry when it is broken.
    """
    if json_coded:
        check_values(body)
        spans, messages = count_in_json(body), 0
    else:
        spans, messages = count_in_protobuf(body, MOST_MESSAGES)
    if spans > MOST_SPANS or messages > MOST_MESSAGES:
        raise _too_much(_TOO_MANY_SPANS)


def unpacked(body: bytes, coding: str) -> bytes:
    """Return the body without its content coding, gzip or deflate.

    Raise Refused when it is larger than allowed, zlib.error when it is broken.
    """
    for window in _WINDOWS[coding]:
        with contextlib.suppress(zlib.error):
            return _inflated(body, window)
    raise zlib.error(f"no {coding}")


def _inflated(body: bytes, window: int) -> bytes:
    parts: list[bytes] = []
    left = MOST
    # Several compressed bodies in a row are one, and zeros after them are padding.
    for _ in range(MOST_IN_A_ROW):
        engine = zlib.decompressobj(window)
        parts.append(engine.decompress(body, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise _too_much(_TOO_LARGE)
        if not engine.eof:
            raise zlib.error("cut off")
        body = engine.unused_data.lstrip(b"\0")
        if not body:
            return b"".join(parts)
    raise zlib.error("too many in a row")


def bounded(application: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return the ASGI application, wrapped so that it is handed no larger body, and traces unpacked.

    What is under way for one client is bounded too.
    """
    shares = Shares()
    one_checked = asyncio.Lock()

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        client = client_of(scope)
        share = Share(shares, client)
        try:
            if _is_upload(scope):
                share.take(PIECE)
                receive = _in_pieces(receive)
            else:
                with shares.to_come(client):
                    body = await _received(scope, receive, share)
                if len(body) > SMALL or _is_traces(scope):
                    async with one_checked:
                        scope, body = await asyncio.to_thread(_checked, scope, body)
                receive = _first(body, receive)
            await application(scope, receive, _Sending(send, share).send)
        except ClientLeft:
            pass
        except Refused as refused:
            # Before the answer goes out the rest of the body may have to come.
            share.end()
            await refused.answer.by_asgi(send)
        finally:
            share.end()

    return answer


class _Sending:
    """An answer on its way to a client that may read slowly; one that has no room is refused in its place."""

    def __init__(self, send: Send, share: Share) -> None:
        self._send = send
        self._share = share
        self._start: Message | None = None
        self._is_refused = False

    async def send(self, message: Message) -> None:
        """Send the message; the start with the first of the body, which may be all of it.

        An answer without a length is a stream, whose start is not held back.
        """
        if message["type"] == "http.response.start" and header_values(message, "Content-Length"):
            self._start = message
        elif self._start:
            start, self._start = self._start, None
            try:
                self._share.take(len(message.get("body", b"")))
            except Refused as refused:
                self._is_refused = True
                await refused.answer.by_asgi(self._send)
            else:
                await self._send(start)
                await self._send(message)
        elif not self._is_refused:
            await self._send(message)


def _in_pieces(receive: Receive) -> Receive:
    """Join messages to whole pieces of the body, as MLflow hands each to a thread of its own."""

    async def receiving() -> Message:
        message = await receive()
        parts = [message.get("body", b"")]
        size = len(parts[0])
        while message.get("more_body") and size < PIECE:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        # The client's leaving ends the body too, and is what the application has to see.
        return message if message["type"] != "http.request" else {**message, "body": b"".join(parts)}

    return receiving


def _is_upload(scope: Message) -> bool:
    return scope["method"] == "PUT" and bool(_UPLOAD.fullmatch(scope["path"]))


def _is_traces(scope: Message) -> bool:
    return bool(scope["path"] == TRACES)


async def _received(scope: Message, receive: Receive, share: Share) -> bytes:
    """Return the whole body; raise Refused when it is too large, or the client has too much under way."""
    if any(value.isdecimal() and int(value) > MOST for value in header_values(scope, "Content-Length")):
        raise _too_much(_TOO_LARGE)
    is_stranger = scope.get(USER) == ""
    parts, left, more = [], MOST_OF_STRANGER if is_stranger else MOST, True
    while more:
        part, more = await next_part(receive)
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise Refused(not_in()) if is_stranger else _too_much(_TOO_LARGE)
        share.take(len(part))
    return b"".join(parts)


def _checked(scope: Message, body: bytes) -> tuple[Message, bytes]:
    """Return the request as it is handed on; raise Refused when it may not be."""
    if not _is_traces(scope):
        if not _UPLOAD_BY_PAGE.fullmatch(scope["path"]):
            check_values(body)
        return scope, body
    # MLflow takes the first of several; what it does not know it refuses.
    coding = next(iter(header_values(scope, "Content-Encoding")), "").lower()
    try:
        if coding in _WINDOWS:
            body = unpacked(body, coding)
            scope = {**scope, "headers": with_headers(scope["headers"], {"Content-Encoding": None})}
        check_spans(body, json_coded=_PROTOBUF not in "".join(header_values(scope, "Content-Type")))
    except (zlib.error, NotOpenTelemetry):
        # MLflow has words for it, and shall not find out for itself at what cost.
        return scope, _BROKEN
    return scope, body


def _first(body: bytes, receive: Receive) -> Receive:
    """Return a receiver that gives the body in one message, then whatever the client does."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return left.pop() if left else await receive()

    return receiving
