"""Prepare the files of MLflow's page, once: what a new browser sees first, and each compressed beside itself.

Needs `zstandard`, which the server does not. Compressing for every answer takes tens of megabytes of the
proxy's memory each time, and anybody may ask.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

PAGE = "server/js/build"
SUFFIXES = frozenset({".css", ".html", ".js", ".json", ".mjs", ".svg", ".ttf", ".txt"})
# Higher levels of zstd take three times as long and more, for a twentieth.
_ZSTD_LEVEL, _GZIP_LEVEL = 12, 9
# What a browser keeps of its user's choices; the page's own beginning is that of GenAI, without runs, and
# says that usage data is collected, which no stack does.
DEFAULTS = {
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.telemetry.info.alert.dismissed_v1": True,
    "mlflow.settings.telemetry.enabled_v1": False,
}
_SET_DEFAULTS = """\
for (const [key, value] of Object.entries(%s)) {
  try {
    localStorage.getItem(key) ?? localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing shows the page as MLflow has it.
  }
}
"""
_INDEX, _SCRIPTS = "index.html", "static/js"
_MAIN = re.compile(r'<script defer="defer" src="static-files/static/js/(main\.[0-9a-f]+\.js)"></script>')
# Whether the page offers MLflow's Assistant without asking the server: at these names it takes a quarter of
# each page. It works for none who come through a proxy, unless the server says so,
# and then the page offers it under every name.
_OFFERS_ASSISTANT = re.compile(
    r"\(\(\)=>\{const (\w)=window\.location\.hostname;"
    r'return"localhost"===\1\|\|"127\.0\.0\.1"===\1\|\|"::1"===\1\}\)\(\)'
)


class UnknownPage(Exception):
    """The page is not as this release of MLflow has it."""


def adapt(directory: Path) -> None:
    """Give new browsers other defaults, and let the server alone say whether the Assistant is offered.

    UnknownPage when this cannot be done. The changed script gets another name: browsers keep one for a year.
    """
    index = (directory / _INDEX).read_text(encoding="utf-8")
    found = _MAIN.search(index)
    if not found:
        raise UnknownPage(f"{_INDEX} loads no main script")
    main = directory / _SCRIPTS / found[1]
    script, count = _OFFERS_ASSISTANT.subn("!1", main.read_text(encoding="utf-8"))
    if count != 1:
        raise UnknownPage(f"{main.name} decides about the Assistant in {count} places, not in one")
    # Deferred scripts run in their order.
    tags = _added(directory, "defaults", _SET_DEFAULTS % json.dumps(DEFAULTS)) + _added(
        directory, "main", script
    )
    _put(directory / _INDEX, index.replace(found[0], tags))
    main.unlink()


def _added(directory: Path, name: str, script: str) -> str:
    """Write the script under a name that changes with it; return the tag that loads it."""
    file = f"{name}.{hashlib.sha256(script.encode()).hexdigest()[:8]}.js"
    _put(directory / _SCRIPTS / file, script)
    return f'<script defer="defer" src="static-files/{_SCRIPTS}/{file}"></script>'


def _put(path: Path, text: str) -> None:
    # The file there may be a link to one of an installer's cache, which other environments have too.
    scratch = path.with_name(f"{path.name}.new")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def compress_files(directory: Path) -> int:
    """Compress each file that gets smaller by it; return how many there are to compress."""
    found = sorted(path for path in directory.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    with ThreadPoolExecutor() as threads:
        list(threads.map(_compress, found))
    return len(found)


def _compress(path: Path) -> None:
    content = path.read_bytes()
    for suffix, coding in _CODINGS.items():
        packed = coding(content)
        if len(packed) < len(content):
            path.with_name(path.name + suffix).write_bytes(packed)


def _gzip(content: bytes) -> bytes:
    # Without a time in it the same files make the same image.
    return gzip.compress(content, _GZIP_LEVEL, mtime=0)


def _zstd(content: bytes) -> bytes:
    import zstandard

    packed: bytes = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)
    return packed


_CODINGS: dict[str, Callable[[bytes], bytes]] = {".zst": _zstd, ".gz": _gzip}


def main() -> None:
    """Prepare the page of the MLflow that is installed for this Python."""
    found = find_spec("mlflow")
    if found is None or found.origin is None:
        sys.exit("prepare_page: there is no MLflow here")
    page = Path(found.origin).parent / PAGE
    try:
        adapt(page)
    except (UnknownPage, OSError) as error:
        sys.exit(f"prepare_page: {error}")
    print(f"{compress_files(page)} files of the page compressed")


if __name__ == "__main__":
    main()
