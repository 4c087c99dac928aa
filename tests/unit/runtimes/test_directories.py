"""What `erase` of an embedded stack removes, in a directory that is not the stack's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import WouldLoseData
from provisioner.runtimes.embedded.directories import remove_data


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def test_erase_leaves_a_kedro_projects_own_data_and_logs(tmp_path: Path) -> None:
    theirs = [write(tmp_path / "data/01_raw/shops.csv"), write(tmp_path / "logs/info.log")]
    ours = [
        write(tmp_path / "data/postgres/PG_VERSION"),
        write(tmp_path / "data/runtime.json"),
        write(tmp_path / "logs/mlflow.log.1"),
    ]
    assert remove_data(tmp_path) == ["data/postgres", "data/runtime.json", "logs"]
    assert all(path.exists() for path in theirs)
    assert not any(path.exists() for path in ours)


def test_erase_removes_folders_that_had_only_its_own(tmp_path: Path) -> None:
    write(tmp_path / "data/artifacts/1/a.txt")
    write(tmp_path / "logs/supervisord.log")
    remove_data(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_erase_follows_no_link(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere/precious.txt")
    stack = tmp_path / "stack"
    (stack / "data").mkdir(parents=True)
    (stack / "data/artifacts").symlink_to(elsewhere.parent)
    remove_data(stack)
    assert elsewhere.exists()
    (stack / "data").symlink_to(elsewhere.parent)
    with pytest.raises(WouldLoseData, match="data is a link"):
        remove_data(stack)
    assert elsewhere.exists()
