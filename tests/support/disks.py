"""Disks that take nothing more: full ones, and ones that are read only."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """No file of this process can grow, as on a full disk; directories and empty files can be made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 64 KB and 20 files at that new folder; it has to be root who asks."""
    folder.mkdir()
    options = "size=64k,nr_inodes=20,mode=0755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this test has to mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> None:
    """Leave no room on that small disk, neither for bytes nor for another file."""
    with contextlib.suppress(OSError), (folder / "large").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with contextlib.suppress(OSError):
        for number in range(100):
            (folder / f"{number}").touch()
