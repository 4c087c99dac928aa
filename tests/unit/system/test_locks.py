"""Locks of files: one holder, who is named, and others who wait or are refused."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from provisioner.errors import Locked
from provisioner.system.locks import hold
from tests.support.disks import nothing_can_be_written, small_disk


def test_one_that_waits_is_told_once_and_gets_it_when_it_is_free(tmp_path: Path) -> None:
    path, said, order = tmp_path / "lock", [], []
    held, released = threading.Event(), threading.Event()

    def first() -> None:
        with hold(path, "up", "busy"):
            held.set()
            released.wait(60)
            order.append("first")

    def waiting() -> None:
        said.append("waiting")
        released.set()

    holder = threading.Thread(target=first)
    holder.start()
    assert held.wait(60)
    with hold(path, "down", "busy", wait=60, on_wait=waiting):
        order.append("second")
    holder.join()
    assert (said, order) == (["waiting"], ["first", "second"])


@pytest.mark.parametrize("wait", [0, 0.1])
def test_one_that_does_not_get_it_in_time_is_told_who_has_it(tmp_path: Path, wait: float) -> None:
    path = tmp_path / "lock"
    with hold(path, "up", "busy"):
        with pytest.raises(Locked) as caught, hold(path, "down", "something else works here", wait=wait):
            raise AssertionError("it has the lock")
        assert caught.value.what == "something else works here"
        assert "provision up, process" in caught.value.why
        assert caught.value.where == str(path)
    with hold(path, "down", "busy"):
        assert "down" in path.read_text()
    assert path.read_text() == "", "nobody is named when nobody has it"


def test_what_a_lock_is_another_name_of_keeps_its_content(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "lock"
    victim.write_text("precious")
    path.hardlink_to(victim)
    with hold(path, "up", "busy"), pytest.raises(Locked), hold(path, "down", "busy"):
        raise AssertionError("two hold the lock")
    assert victim.read_text() == "precious"


def test_a_full_disk_keeps_nobody_from_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with nothing_can_be_written(), hold(path, "down", "busy"):
        with pytest.raises(Locked, match="busy") as caught, hold(path, "up", "busy"):
            raise AssertionError("two hold the lock")
        assert caught.value.why == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_lock_of_a_disk_that_is_read_only_is_held_where_it_is_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "lock").touch()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with hold(disk / "lock", "down", "busy"), pytest.raises(Locked), hold(disk / "lock", "up", "busy"):
            raise AssertionError("two hold the lock")
        with pytest.raises(OSError, match="Read-only file system"), hold(disk / "another", "down", "busy"):
            raise AssertionError("it has a lock that is not there")
