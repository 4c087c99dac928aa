"""What stands in a file's place, on every host: it keeps nobody waiting, and fills no memory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provisioner.errors import Locked, ProvisionError
from provisioner.system.files import LARGEST
from provisioner.system.host import Host
from tests.support.disks import fill, small_disk


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)


@pytest.mark.parametrize("made", [pipe, device, huge])
def test_what_is_no_file_is_an_error_that_names_it(host: Host, tmp_path: Path, made: object) -> None:
    path = tmp_path / "it's a name"
    assert callable(made)
    made(path)
    for read in (
        lambda: host.get(path),
        lambda: host.read([path]),
        lambda: host.read_below(tmp_path, [path.name]),
    ):
        with pytest.raises(ProvisionError, match="cannot be read") as caught:
            read()
        assert str(path) in caught.value.where
        assert caught.value.hint


@pytest.mark.parametrize("made", [pipe, device])
def test_no_stream_is_opened_of_what_is_no_file(host: Host, tmp_path: Path, made: object) -> None:
    assert callable(made)
    made(tmp_path / "a")
    with pytest.raises(ProvisionError, match="cannot be read"), host.open_read(tmp_path / "a") as stream:
        stream.read(1)


def test_a_persons_link_is_followed(host: Host, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("content")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link").symlink_to("real/a")
    assert host.get(tmp_path / "link") == b"content"
    assert host.read_below(tmp_path, ["link", "folder/a", "absent", "absent/a"]) == {
        "link": b"content",
        "folder/a": b"content",
        "absent": None,
        "absent/a": None,
    }


def test_nothing_is_read_through_a_link_in_place_of_the_directory(host: Host, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("content")
    (tmp_path / "folder").symlink_to("real")
    with pytest.raises(ProvisionError, match="is a link") as caught:
        host.read_below(tmp_path / "folder", ["a"])
    assert str(tmp_path / "folder") in caught.value.where


def link(path: Path) -> None:
    path.with_name("victim").write_text("precious")
    path.symlink_to("victim")


@pytest.mark.parametrize("made", [link, pipe])
def test_neither_a_lock_nor_a_line_is_written_through_what_is_no_file(
    host: Host, tmp_path: Path, made: object
) -> None:
    assert callable(made)
    made(tmp_path / ".lock")
    for write in (
        lambda: host.lock(tmp_path, "down").__enter__(),
        lambda: host.append("line", tmp_path / ".lock", 0o600),
    ):
        with pytest.raises(ProvisionError, match=r"\.lock cannot be written: it is ") as caught:
            write()
        assert str(tmp_path / ".lock") in caught.value.what
        assert caught.value.hint
    if made is link:
        assert (tmp_path / "victim").read_text() == "precious"
        assert (tmp_path / "victim").stat().st_mode & 0o777 != 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_stack_is_locked_on_a_disk_that_is_full_or_read_only(host: Host, tmp_path: Path) -> None:
    def two_locks(disk: Path) -> None:
        with host.lock(disk, "down"), pytest.raises(Locked), host.lock(disk, "up"):
            pytest.fail("two hold the lock")

    with small_disk(tmp_path / "disk") as disk:
        (disk / ".lock").touch()
        fill(disk)
        two_locks(disk)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        two_locks(disk)
