"""What every host does with directories: made with a mode, looked at, removed; a link is never followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import ProvisionError
from provisioner.system.host import Host


def test_directories_are_made_with_their_mode_and_removed_with_what_is_in_them(
    host: Host, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "b c"
    assert not host.has_directory(folder)
    for mode in (0o755, 0o700):
        host.make_directory(folder, mode)
        assert folder.stat().st_mode & 0o777 == mode
    assert host.has_directory(folder)
    (folder / "file").touch()
    (tmp_path / "kept").touch()
    (folder / "link").symlink_to(tmp_path / "kept")
    assert not host.has_directory(folder / "file")
    host.remove(folder, tmp_path / "absent")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "kept"]


def test_a_link_in_place_of_a_directory_is_refused_and_not_followed(host: Host, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o710)
    (tmp_path / "ours").symlink_to(theirs)
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    for name in ("ours", "nowhere"):
        with pytest.raises(ProvisionError, match=f"{name}.* is a link"):
            host.make_directory(tmp_path / name, 0o755)
        with pytest.raises(ProvisionError, match=f"{name}.* is a link"):
            host.directory_mode(tmp_path / name)
    assert theirs.stat().st_mode & 0o777 == 0o710
    assert not (tmp_path / "absent").exists()


def test_the_mode_of_a_directory_is_seen(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    assert host.directory_mode(tmp_path / "a file") is None
    assert host.directory_mode(tmp_path / "absent") is None
    for mode in (0o700, 0o755, 0o1777):
        (tmp_path / "it's").mkdir(exist_ok=True)
        (tmp_path / "it's").chmod(mode)
        assert host.directory_mode(tmp_path / "it's") == mode
