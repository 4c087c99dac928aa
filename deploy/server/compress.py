"""Compress the files of MLflow's page once, each beside itself; needs `zstandard`, which the server does not.

Done for every answer, it takes tens of megabytes of the front door's memory each time, and anybody may ask.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

PAGE = "server/js/build"
SUFFIXES = frozenset({".css", ".html", ".js", ".json", ".mjs", ".svg", ".ttf", ".txt"})
# Higher levels of zstd take three times as long and more, for a twentieth.
_ZSTD_LEVEL, _GZIP_LEVEL = 12, 9


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
    """Compress the page of the MLflow that is installed for this Python."""
    found = find_spec("mlflow")
    if found is None or found.origin is None:
        sys.exit("compress: there is no MLflow here")
    count = compress_files(Path(found.origin).parent / PAGE)
    if not count:
        sys.exit(f"compress: no file of the page in {PAGE}")
    print(f"{count} files of the page compressed")


if __name__ == "__main__":
    main()
