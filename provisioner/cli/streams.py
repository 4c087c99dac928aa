"""The standard streams of a command: what cannot be written there decides nothing about its work."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

# By descriptor. Standard output that was closed stays one that refuses to be written: its result is missed.
_CLOSED = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


class _Lenient(io.FileIO):
    """A descriptor that takes all that is written; `refused` is why some of it is lost, if it is."""

    refused: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write the bytes, and return how many are done with: all where they cannot be written."""
        try:
            return super().write(data)
        except OSError as error:
            self.refused = error
            return len(data)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Run the block, which ends the program, with standard streams that never fail.

    End it with 1 in place of 0 where something for standard output is lost, after saying so.
    """
    _open_closed()
    kept = sys.stdin, sys.stdout, sys.stderr
    # A closed one is None, whatever the types say.
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115  open as long as the program
    out, sys.stdout = _lenient(sys.stdout, 1)
    _, sys.stderr = _lenient(sys.stderr, 2)
    try:
        yield
    except SystemExit as end:
        sys.stdout.flush()
        if out is None or out.refused is None or end.code:
            raise
        why = "it is closed" if out.refused.errno == errno.EBADF else str(out.refused.strerror).lower()
        sys.stderr.write(f"error: cannot write to standard output: {why}\n")
        raise SystemExit(1) from end
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = kept


def _open_closed() -> None:
    """Open what is closed of the three descriptors, so that no file of the work becomes one of them."""
    for descriptor, flags in _CLOSED.items():
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free, so this one.
            os.set_inheritable(os.open(os.devnull, flags), True)


def _lenient(stream: TextIO | None, descriptor: int) -> tuple[_Lenient | None, TextIO]:
    """Return a stream in place of that one, with its descriptor; the same where it is none of a file."""
    if stream is None:
        return _written_to(descriptor, "utf-8", "backslashreplace", lines=False)
    try:
        number = stream.fileno()
    except io.UnsupportedOperation:
        return None, stream
    stream.flush()
    return _written_to(number, stream.encoding, stream.errors, lines=descriptor == 2 or os.isatty(number))


def _written_to(
    descriptor: int, encoding: str, errors: str | None, *, lines: bool
) -> tuple[_Lenient, TextIO]:
    raw = _Lenient(descriptor, "w", closefd=False)
    return raw, io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=lines)
