"""A headless Chromium by its own protocol: what a page asked for, got back, complained of, and shows."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

DEADLINE = 60.0
QUIET = 2.0
ATTEMPTS = 10
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,1000",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


@dataclass
class Answered:
    """One request of a page, and how it ended."""

    url: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0
    cached: bool = False
    failure: str = ""


@dataclass
class Visit:
    """What a page did until it was quiet."""

    requests: dict[str, Answered] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def ours(self, uri: str) -> list[Answered]:
        return [request for request in self.requests.values() if request.url.startswith(uri)]

    def size(self, uri: str) -> int:
        """Bytes over the wire from the proxy."""
        return sum(request.size for request in self.ours(uri))

    def complained(self, uri: str) -> list[str]:
        """What the console has of that address, or of none."""
        return [complaint for complaint in self.complaints if uri in complaint or "http" not in complaint]

    def disturbed(self) -> bool:
        """Whether the network changed, as when a container starts: Chromium then fails what is under way."""
        return any(request.failure == "net::ERR_NETWORK_CHANGED" for request in self.requests.values())


class Browser:
    """One browser with an empty cache at first."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def sign_in(self, user: str, password: str) -> None:
        """Send that login with every request, as after the browser's own question."""
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._ask("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {login}"})

    def visit(self, url: str, shown: Callable[[str], bool], *, cache: bool = True) -> Visit:
        """Open the address; returns once its text is as wanted and no request is under way.

        Without `cache` nothing is kept from before.
        """
        for _ in range(ATTEMPTS):
            if not cache:
                self._ask("Network.clearBrowserCache")
            visit = Visit()
            try:
                self._visit(visit, url, shown)
            except AssertionError:
                if not visit.disturbed():
                    raise
            if not visit.disturbed():
                return visit
        raise AssertionError(f"{url}: the machine's network changed during each of {ATTEMPTS} visits")

    def _visit(self, visit: Visit, url: str, shown: Callable[[str], bool]) -> None:
        # A change of the part behind `#` alone would load nothing.
        self._ask("Page.navigate", url="about:blank")
        started = time.monotonic()
        self._ask("Page.navigate", visit, url=url)
        origin = "/".join(url.split("/")[:3])
        last, waiting = time.monotonic(), [url]
        while time.monotonic() < started + DEADLINE and not visit.disturbed():
            if self._listen(visit, 0.5):
                last = time.monotonic()
                continue
            # A worker's script ends in a session of its own.
            loading = [one.url for one in visit.ours(origin) if not (one.size or one.failure or one.cached)]
            waiting = [url for url in loading if not url.endswith(".worker.js")]
            if not waiting and time.monotonic() > last + QUIET and shown(self.text(visit)):
                visit.seconds = last - started
                return
        raise AssertionError(
            f"{url} does not show what is wanted after {DEADLINE:.0f} s, or still asks for {waiting}: "
            f"{self.text(visit)[:2000]!r}"
        )

    def text(self, visit: Visit | None = None) -> str:
        """What the page shows."""
        answer = self._ask(
            "Runtime.evaluate", visit, expression="document.body ? document.body.innerText : ''"
        )
        return str(answer["result"].get("value", ""))

    def picture(self, width: int, height: int) -> bytes:
        """What the page looks like in a window of so many pixels, as PNG."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def _ask(self, method: str, visit: Visit | None = None, **parameters: Any) -> Any:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            message = json.loads(self._socket.recv(timeout=DEADLINE))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            if visit:
                note(visit, message)
        raise AssertionError(f"Chromium did not answer {method}")

    def _listen(self, visit: Visit, seconds: float) -> bool:
        """Whether something has happened on the network."""
        try:
            message = json.loads(self._socket.recv(timeout=seconds))
        except TimeoutError:
            return False
        return note(visit, message)


def note(visit: Visit, message: dict[str, Any]) -> bool:
    """Whether the event was one of the network; it is written down."""
    event, about = str(message.get("method", "")), message.get("params", {})
    request = visit.requests.get(about.get("requestId", ""))
    if event == "Network.requestWillBeSent":
        visit.requests[about["requestId"]] = Answered(about["request"]["url"])
    elif event == "Network.responseReceived" and request:
        response = about["response"]
        request.status = response["status"]
        request.headers = {key.lower(): value for key, value in response["headers"].items()}
        request.cached = bool(response.get("fromDiskCache"))
    elif event == "Network.requestServedFromCache" and request:
        request.cached = True
    elif event == "Network.loadingFinished" and request:
        request.size = int(about["encodedDataLength"]) or 1
    elif event == "Network.loadingFailed" and request:
        request.failure = about["errorText"]
    elif event == "Runtime.exceptionThrown":
        visit.complaints.append(json.dumps(about["exceptionDetails"])[:1000])
    elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
        visit.complaints.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")
    elif event == "Runtime.consoleAPICalled" and about["type"] == "error":
        visit.complaints.append(
            " ".join(str(part.get("value", part.get("description", ""))) for part in about["args"])[:1000]
        )
    return event.startswith("Network.")


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A new browser, until the caller is done."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: apt-get install chromium"
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        argv = [program, *ARGUMENTS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment(profile)
        ) as process:
            try:
                with connect(_page_address(Path(profile)), max_size=None, proxy=None) as socket:
                    yield Browser(socket)
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


def _environment(profile: str) -> dict[str, str]:
    import os

    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": profile}


def _page_address(profile: Path) -> str:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, IndexError, StopIteration):
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                targets: list[dict[str, Any]] = json.load(answer)
            return str(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
        time.sleep(0.1)
    raise AssertionError("chromium did not start")
