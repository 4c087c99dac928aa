"""Run programs whose input or output is of any size: streams of bytes, held in memory a piece at a time."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from provisioner.errors import CommandFailed
from provisioner.system.process import Completed, Identity, raise_on_failure, start

CHUNK = 1 << 20
# Of what a long program says beside its output, the end tells why it failed.
_SAID = 64 << 10


def transfer(
    argv: Sequence[str],
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    identity: Identity | None = None,
    held: bool = False,
    check: bool = True,
) -> Completed:
    """Run a program to its end, however long that takes, with these open files as its input and output.

    None is an empty one. Return how it ended, with the last 64 KiB of what it wrote to standard error. Raise
    CommandFailed as `process.run` does. `held` leaves its standard input open until it ends, or we do.
    Interrupted, it is ended first.
    """
    given = subprocess.PIPE if held else stdin or subprocess.DEVNULL
    with tempfile.TemporaryFile() as said:
        files = {"stdin": given, "stdout": stdout or subprocess.DEVNULL, "stderr": said}
        process = start(argv, cwd=cwd, env=env, identity=identity, **files)
        with process:
            try:
                code = process.wait()
            except BaseException:
                _end(process)
                raise
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
        completed = Completed(tuple(argv), code, b"", said.read())
    if check or code < 0:
        raise_on_failure(argv, code, completed.error_text)
    return completed


class Sent(io.BufferedWriter):
    """The stream that a program reads: how many bytes it was sent, and what it wrote when it had ended."""

    count = 0
    output = b""

    def write(self, content: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        written = super().write(content)
        self.count += written
        return written


@contextlib.contextmanager
def writing(argv: Sequence[str]) -> Iterator[Sent]:
    """Run the block with a stream that is a program's standard input; raise CommandFailed when that fails.

    Of a block that fails the program is killed.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
        process = start(argv, stdin=subprocess.PIPE, stdout=told, stderr=said, bufsize=0)
        with process:
            try:
                if process.stdin:
                    # Unbuffered, it is a raw one.
                    sent = Sent(process.stdin)
                    with contextlib.suppress(BrokenPipeError):
                        # A program that ended by itself says why.
                        yield sent
                        sent.close()
                process.wait()
            except BaseException:
                process.kill()
                raise
        said.seek(0)
        told.seek(0)
        sent.output = told.read()
        raise_on_failure(argv, process.returncode, said.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes], grace: float = 10) -> None:
    """End the program: by a signal that it can heed, and after that many seconds by one that it cannot."""
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()


def pipe(
    source: Sequence[str], target: Sequence[str], through: Callable[[Iterator[bytes]], Iterator[bytes]]
) -> Completed:
    """Run both programs, with what the source writes, changed by `through`, as the target's input.

    Return the ended target; raise CommandFailed for whichever failed first.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
        giver = start(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        with giver:
            try:
                taker = start(target, stdin=subprocess.PIPE, stdout=told, stderr=subprocess.STDOUT)
            except CommandFailed:
                giver.kill()
                raise
            with taker:
                try:
                    _pump(giver, taker, through)
                except BaseException:
                    taker.kill()
                    giver.kill()
                    raise
        said.seek(0)
        told.seek(0)
        output, complaint = told.read(), said.read().decode(errors="replace")
    if taker.returncode <= 0:
        # A taker that ended by itself is why the giver failed; one that we ended is not.
        raise_on_failure(source, giver.returncode, complaint)
    raise_on_failure(target, taker.returncode, output.decode(errors="replace"))
    return Completed(tuple(target), taker.returncode, output, b"")


@contextlib.contextmanager
def reading(argv: Sequence[str]) -> Iterator[IO[bytes]]:
    """Run the block with what a program writes to its standard output; raise CommandFailed when it fails.

    What the block leaves is read to the end.
    """
    with tempfile.TemporaryFile() as said:
        process = start(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        with process:
            try:
                if process.stdout:
                    yield process.stdout
                    while process.stdout.read(CHUNK):
                        # Who writes waits until it is read.
                        pass
                process.wait()
            except Exception:
                # Whoever reads what a program did not finish fails as well, and a moment before it has ended:
                # why is what it says.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
                if process.poll() in {None, 0}:
                    raise
            finally:
                process.kill()
        said.seek(0)
        raise_on_failure(argv, process.returncode, said.read().decode(errors="replace"))


def _pump(
    giver: subprocess.Popen[bytes],
    taker: subprocess.Popen[bytes],
    through: Callable[[Iterator[bytes]], Iterator[bytes]],
) -> None:
    """Hand everything over; end the taker of a giver that failed before that has the end of its input."""
    if giver.stdout is None or taker.stdin is None:
        return
    chunks = iter(partial(giver.stdout.read, CHUNK), b"")
    with contextlib.suppress(BrokenPipeError):
        for chunk in through(chunks):
            taker.stdin.write(chunk)
        if giver.wait() != 0:
            taker.kill()
        taker.stdin.close()
