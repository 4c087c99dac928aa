"""A job with streams of any size, run as the program runs it.

`PYTHON job_stream.py STACK MEGABYTES SECONDS` prints what came of it. It is a script for the Python of the
installed program: numbered blocks go to the job `copy` within those seconds, and come back.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from pathlib import Path

from provisioner.stack.find import read_stack
from provisioner.system.host import LocalHost

BLOCK = os.urandom(1 << 20)


def block(number: int) -> bytes:
    return number.to_bytes(8, "big") + BLOCK[8:]


def feed(descriptor: int, blocks: int, seconds: float) -> None:
    """Write every block, none before its time, and close."""
    started = time.monotonic()
    with os.fdopen(descriptor, "wb") as stream:
        for number in range(blocks):
            time.sleep(max(0.0, started + seconds * number / blocks - time.monotonic()))
            stream.write(block(number))


def compare(descriptor: int, found: list[bool]) -> None:
    """Read every block to the end, and note of each whether it is the one that was sent."""
    with os.fdopen(descriptor, "rb") as stream:
        while got := stream.read(len(BLOCK)):
            found.append(got == block(len(found)))


def copy(stack: Path, blocks: int, seconds: float) -> list[bool]:
    """Send the blocks through a job, and return of each that came back whether it is the same."""
    runtime = read_stack(stack, "", LocalHost()).runtime
    (take, give), (got, put), found = os.pipe(), os.pipe(), list[bool]()
    feeder = threading.Thread(target=feed, args=(give, blocks, seconds))
    reader = threading.Thread(target=compare, args=(got, found))
    for thread in (feeder, reader):
        thread.start()
    with os.fdopen(take, "rb") as stdin, os.fdopen(put, "wb") as stdout:
        runtime.run_job("copy", stdin=stdin, stdout=stdout)
    for thread in (feeder, reader):
        thread.join()
    return found


def main(stack: str, megabytes: str, seconds: str) -> None:
    copy(Path(stack), 4, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    found = copy(Path(stack), int(megabytes), float(seconds))
    took, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {"blocks": len(found), "same": all(found), "seconds": took, "grown_mb": (after - before) / 1024}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
