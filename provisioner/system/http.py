"""Plain REST over HTTP: no proxies, no retries, every failure one error."""

from __future__ import annotations

import base64
import copy
import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from provisioner.system.certificates import context_of, has_no_certificate, refusal

_SHOWN = 300
NO_CERTIFICATE = (
    "use the name that it has (server.public_url); "
    "`provision logs proxy` there shows whether it gets its certificate"
)
NO_TRUST = "give the file of the server's certificate authority: `provision link --ca-file FILE`"


class RestError(Exception):
    """A call that gave no good answer; `status` is 0 when nothing answered at all."""

    def __init__(self, status: int, message: str, hint: str = "", *, permanent: bool = False) -> None:
        super().__init__(f"{status} {message}" if status else message)
        self.status = status
        self.message = message
        self.hint = hint
        """What fixes it, where that is known."""
        self.permanent = permanent
        """Whether it does not pass with time: the server's certificate was refused."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A login must not travel to where an answer points."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class _Plain(urllib.request.HTTPHandler):
    """Connects to that address, whatever the URL's name leads to."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__()
        self._address = address

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_there(http.client.HTTPConnection, self._address), request)


class _Secure(urllib.request.HTTPSHandler):
    """Connects to that address; the certificate has to be for the URL's name."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._address = address
        self._with = context

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_there(http.client.HTTPSConnection, self._address), request, context=self._with)


def _there(kind: Callable[..., http.client.HTTPConnection], address: tuple[str, int]) -> Any:
    """Return a function that makes connections of that kind whose socket leads to the address."""

    def make(host: str, **options: Any) -> http.client.HTTPConnection:
        connection = kind(host, **options)
        connection._create_connection = lambda _, *rest: socket.create_connection(address, *rest)  # type: ignore[attr-defined]
        return connection

    return make


class Rest:
    """A client of one server; never goes through a proxy, whatever the environment says."""

    def __init__(
        self,
        uri: str,
        *,
        host: str = "",
        origin: str = "",
        username: str = "",
        password: str = "",
        timeout: float = 10,
        trusted: Path | bytes | None = None,
        connect: str = "",
    ) -> None:
        """Make a client of the server at the URI.

        `connect` is HOST:PORT to reach it at, whatever its name leads to; its certificate is still the
        name's.
        """
        self.uri = uri.rstrip("/")
        self._timeout = timeout
        self._address = _address(self.uri, connect)
        self._headers = _headers(host, origin, username, password)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirect()]
        # A file of certificates that cannot be used is an error of the call, as all else.
        self._unusable = ""
        if self.uri.lower().startswith("https:"):
            try:
                handlers.append(_Secure(self._address, context_of(trusted)))
            except (OSError, ValueError) as error:
                where = f" in {trusted}" if isinstance(trusted, Path) else ""
                self._unusable = (
                    f"the certificates{where} cannot be used: {getattr(error, 'strerror', '') or error}"
                )
        else:
            handlers.append(_Plain(self._address))
        self._opener = urllib.request.build_opener(*handlers)

    def anonymous(self) -> Rest:
        """Return the same client without the login."""
        copied = copy.copy(self)
        copied._headers = {name: value for name, value in self._headers.items() if name != "Authorization"}
        return copied

    def call(self, method: str, path: str, payload: object | None = None) -> dict[str, Any]:
        """Send `payload` as JSON, and return the JSON object answered; raise RestError when that fails.

        It is {} for an empty answer; an answer that is no object is below `value`.
        """
        body = None if payload is None else json.dumps(payload).encode()
        answer = self._send(method, path, body, "application/json" if body is not None else "")
        if not answer.strip():
            return {}
        try:
            document = json.loads(answer)
        except ValueError as error:
            raise RestError(
                0, f"{self.uri}{path} answered something that is not JSON: {_shorten(answer)}"
            ) from error
        return document if isinstance(document, dict) else {"value": document}

    def get_bytes(self, path: str) -> bytes:
        """Return the body answered to a GET, as it is; raise RestError when that fails."""
        return self._send("GET", path, None, "")

    def put_bytes(self, path: str, data: bytes) -> None:
        """Store the bytes under the path; raise RestError when that fails."""
        self._send("PUT", path, data, "application/octet-stream")

    def _send(self, method: str, path: str, body: bytes | None, content_type: str) -> bytes:
        headers = dict(self._headers)
        if content_type:
            headers["Content-Type"] = content_type
        if self._unusable:
            raise RestError(0, self._unusable, NO_TRUST, permanent=True)
        # Percent signs stay: a path or query that is encoded already must not be encoded twice.
        target = self.uri + quote(path, safe="/%?&=+,;:@!$'()*~[]")
        try:
            request = urllib.request.Request(target, data=body, headers=headers, method=method)  # noqa: S310
            with self._opener.open(request, timeout=self._timeout) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise RestError(error.code, _message(error)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            inner = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(inner, ssl.SSLCertVerificationError):
                refused = refusal(inner, urlsplit(self.uri).hostname or "", self._address)
                raise RestError(0, refused.why, refused.hint, permanent=True) from error
            if isinstance(inner, ssl.SSLError) and has_no_certificate(inner):
                raise RestError(0, f"{self.uri} has no certificate for this name", NO_CERTIFICATE) from error
            raise RestError(0, f"{self.uri} does not answer: {_reason(error)}") from error


def _address(uri: str, connect: str) -> tuple[str, int]:
    parts = urlsplit(f"//{connect}" if connect else uri)
    try:
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        # Of a port that is none; the call says so.
        return "", 0


def _headers(host: str, origin: str, username: str, password: str) -> dict[str, str]:
    headers = {"Accept": "*/*", "User-Agent": "provision"}
    if host:
        headers["Host"] = host
    if origin:
        headers["Origin"] = origin
    if username or password:
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    return headers


def _message(error: urllib.error.HTTPError) -> str:
    """Return MLflow's own message when the answer has one, else its first bytes, else the status' name."""
    try:
        content = error.read()
    except (OSError, http.client.HTTPException):
        content = b""
    try:
        document = json.loads(content)
        return str(document.get("message") or document.get("error_code") or error.reason)
    except (ValueError, AttributeError):
        return _shorten(content) or str(error.reason)


def _shorten(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())[:_SHOWN]


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    if isinstance(inner, TimeoutError):
        return "no answer in time"
    return str(inner) or type(inner).__name__
