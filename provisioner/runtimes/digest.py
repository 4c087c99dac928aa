"""What changes when one of several files does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def digest_of(files: Mapping[str, bytes], before: bytes = b"") -> str:
    """Return 16 hexadecimal digits for the files' names and contents, in any order, and for `before`."""
    digest = hashlib.sha256(before)
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
