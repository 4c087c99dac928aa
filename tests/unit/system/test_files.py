"""Files of other people: each written whole or not at all, with the mode and owner it had."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.errors import ProvisionError
from provisioner.system.files import (
    file_mode,
    make_folders,
    read_below,
    read_file,
    remove_empty_folder,
    remove_file,
    replace_file,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> int:
    return 0o022


@pytest.fixture(autouse=True)
def _umask(umask: int) -> Iterator[None]:
    old = os.umask(umask)
    yield
    os.umask(old)


@pytest.mark.parametrize(("wanted", "expected"), [(None, 0o644), (0o600, 0o600), (0o666, 0o666)])
def test_a_new_file_has_the_mode_asked_for_or_the_usual_one(
    tmp_path: Path, wanted: int | None, expected: int
) -> None:
    path = tmp_path / "a"
    replace_file(path, b"new", wanted)
    assert (path.read_bytes(), mode(path)) == (b"new", expected)


@pytest.mark.parametrize("umask", [0o077])
def test_a_new_file_respects_the_umask(tmp_path: Path, umask: int) -> None:
    replace_file(tmp_path / "a", b"new")
    assert mode(tmp_path / "a") == 0o600


@pytest.mark.parametrize("old", [0o600, 0o640, 0o755])
def test_an_old_file_keeps_its_mode(tmp_path: Path, old: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(old)
    replace_file(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", old)


def test_a_link_stays_a_link_and_its_target_changes(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    target = tmp_path / "shared" / "real.yml"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link = tmp_path / "link.yml"
    link.symlink_to("shared/real.yml")
    replace_file(link, b"new")
    assert link.is_symlink()
    assert link.readlink() == Path("shared/real.yml")
    assert (target.read_bytes(), mode(target)) == (b"new", 0o640)


def test_a_link_that_leads_to_itself_is_an_error_and_stays(tmp_path: Path) -> None:
    link = tmp_path / "loop"
    link.symlink_to("loop")
    with pytest.raises(ProvisionError, match="cannot be written"):
        replace_file(link, b"new")
    assert link.is_symlink()


@as_root
def test_roots_writes_do_not_take_a_file_from_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.chown(path, 1234, 2345)
    replace_file(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@as_root
def test_what_root_makes_in_a_users_directory_is_that_users(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 2345)
    made = make_folders(tmp_path / "a" / "b")
    replace_file(tmp_path / "a" / "b" / "c", b"new")
    assert made == [tmp_path / "a", tmp_path / "a" / "b"]
    for path in (*made, tmp_path / "a" / "b" / "c"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_no_other_file_is_left_beside_it(tmp_path: Path) -> None:
    replace_file(tmp_path / "a", b"1")
    replace_file(tmp_path / "a", b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_readers_see_the_old_or_the_new_file_and_never_half_of_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        replace_file(path, b"n" * 1_000_000)
        assert reader.read() == b"old"
    assert len(path.read_bytes()) == 1_000_000


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    with pytest.raises(ProvisionError) as caught:
        replace_file(path, b"new")
    assert str(path) in caught.value.what
    assert caught.value.hint
    assert [found.name for found in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("path", ["absent", "absent/below", "file/below"])
def test_a_file_that_is_not_there_is_none(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert read_file(tmp_path / path) is None
    assert file_mode(tmp_path / path) is None
    if path != "file/below":
        remove_file(tmp_path / path)


def test_a_directory_read_as_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="cannot be read: Is a directory"):
        read_file(tmp_path)


def test_a_folder_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProvisionError, match="cannot be made"):
        make_folders(tmp_path / "file" / "below")


def test_only_an_empty_folder_is_removed(tmp_path: Path) -> None:
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    (full / "a").touch()
    assert (
        remove_empty_folder(full),
        remove_empty_folder(empty),
        remove_empty_folder(tmp_path / "absent"),
    ) == (False, True, False)
    assert (full / "a").exists()


def another_users(path: Path, *, owner: int = 1234) -> Path:
    """That directory, as one of the account that services run as."""
    path.mkdir(exist_ok=True)
    os.chown(path, owner, owner)
    return path


@as_root
@pytest.mark.parametrize("name", ["data/a", "data/below/a"])
def test_a_link_that_another_account_may_have_made_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "only-roots").mkdir(mode=0o700)
    (tmp_path / "only-roots" / "a").write_text("secret")
    data = another_users(tmp_path / "data")
    (data / "a").symlink_to("../only-roots/a")
    (data / "below").symlink_to("../only-roots")
    with pytest.raises(ProvisionError, match="it is a symbolic link") as caught:
        read_below(tmp_path, name)
    assert str(tmp_path / "data") in caught.value.where


@as_root
def test_a_file_of_a_third_in_another_accounts_directory_is_refused(tmp_path: Path) -> None:
    data = another_users(tmp_path / "data")
    path = data / "a"
    path.write_text("mine")
    for owner in (0, 1234):
        os.chown(path, owner, owner)
        assert read_below(tmp_path, "data/a") == b"mine"
    os.chown(path, 4321, 4321)
    with pytest.raises(ProvisionError, match="belongs to another user"):
        read_below(tmp_path, "data/a")


def test_a_link_in_a_directory_that_everybody_may_change_is_not_followed(tmp_path: Path) -> None:
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o1777)
    (tmp_path / "real").write_text("x")
    (open_folder / "a").symlink_to("../real")
    with pytest.raises(ProvisionError, match="it is a symbolic link"):
        read_below(open_folder, "a")


def test_a_folder_that_may_be_entered_and_not_listed_is_read_from(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "b").write_text("x")
    folder.chmod(0o711 - 0o400)
    try:
        assert read_below(tmp_path, "a/b") == b"x"
    finally:
        folder.chmod(0o700)
