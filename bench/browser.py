"""A headless Chromium that says how many bytes a page took over the wire, and how long."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

# A page is there when nothing has been under way for so long.
QUIET_SECONDS = 1.0
DEADLINE_SECONDS = 60
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,1000",
    "--remote-debugging-port=0",
    # The reference's pages ask for addresses outside; nothing here depends on the internet.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True)
class PageLoad:
    """Bytes over the wire, seconds to the last of them, requests, and how many of these failed."""

    size: int
    seconds: float
    requests: int
    failed: int


class Browser:
    """One browser with an empty cache at first."""

    def __init__(self, page: ClientConnection) -> None:
        self._page = page
        self._number = 0
        for domain in ("Page", "Network"):
            self._send(f"{domain}.enable")

    def load(self, url: str) -> PageLoad:
        """Open the address and wait until all is quiet."""
        # A change of the part behind `#` alone would load nothing.
        self._send("Page.navigate", url="about:blank")
        self._collect(time.monotonic(), 0.2)
        started = time.monotonic()
        self._send("Page.navigate", url=url)
        return self._collect(started, QUIET_SECONDS)

    def text(self) -> str:
        """What the page shows."""
        number = self._send("Runtime.evaluate", expression="document.body.innerText")
        while True:
            message = json.loads(self._page.recv(timeout=10))
            if message.get("id") == number:
                return str(message["result"]["result"].get("value", ""))

    def _send(self, method: str, **parameters: str) -> int:
        self._number += 1
        self._page.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        return self._number

    def _collect(self, started: float, quiet: float) -> PageLoad:
        """The traffic until nothing has happened for a while."""
        sizes: dict[str, int] = {}
        open_requests: dict[str, str] = {}
        failed, last = 0, started
        while time.monotonic() < started + DEADLINE_SECONDS:
            try:
                message = json.loads(self._page.recv(timeout=quiet))
            except TimeoutError:
                if not open_requests:
                    return PageLoad(sum(sizes.values()), last - started, len(sizes), failed)
                continue
            event, about = message.get("method", ""), message.get("params", {})
            request = str(about.get("requestId", ""))
            if event == "Network.requestWillBeSent" and _counts(about["request"]["url"]):
                open_requests[request] = about["request"]["url"]
            elif event == "Network.loadingFinished" and request in open_requests:
                sizes[request], last = int(about["encodedDataLength"]), time.monotonic()
                del open_requests[request]
            elif event == "Page.loadEventFired":
                # The end of the document itself is not always told when the browser changes processes for it.
                open_requests = {key: address for key, address in open_requests.items() if not address.endswith("/")}
            elif event == "Network.loadingFailed" and request in open_requests:
                del open_requests[request]
                failed += not about.get("canceled")
        raise RuntimeError(f"the page was not quiet after {DEADLINE_SECONDS} s; still open: {list(open_requests.values())}")


def _counts(url: str) -> bool:
    """Whether a request is the server's; that a worker's script has arrived is told to the worker alone."""
    return url.startswith("http://127.0.0.1") and not url.endswith(".worker.js")


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A new browser, until the caller is done."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        raise RuntimeError("chromium is not there: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="bench-browser-", ignore_cleanup_errors=True) as profile:
        argv = [program, *ARGUMENTS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                with connect(_page_address(Path(profile)), max_size=None) as page:
                    yield Browser(page)
            finally:
                process.terminate()
                process.wait(20)


def _page_address(profile: Path) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(OSError, IndexError, StopIteration):
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                targets: list[dict[str, Any]] = json.load(answer)
            return str(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
        time.sleep(0.1)
    raise RuntimeError("chromium did not start")
