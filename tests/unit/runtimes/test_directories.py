"""What an embedded stack gives its account and `erase` removes, in a directory that is not its alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.errors import PreflightError, WouldLoseData
from provisioner.model.settings import Settings
from provisioner.model.stack import build_stack
from provisioner.output import Recorder
from provisioner.runtimes.base import Instance
from provisioner.runtimes.embedded.directories import own_secrets, remove_data
from provisioner.runtimes.embedded.runtime import embedded_runtime
from provisioner.runtimes.embedded.service_user import ServiceUser
from provisioner.runtimes.embedded.state import Memory, this_machine, write_memory
from tests.support.disks import fill, nothing_can_be_written, small_disk


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


def test_the_account_is_given_the_stacks_secrets_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = ServiceUser("provision", 997, 996, dropped=True)
    given: list[tuple[str, int, int]] = []

    def chown(path: Path, uid: int, gid: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        given.append((str(path.relative_to(tmp_path)), uid, gid))

    monkeypatch.setattr(os, "chown", chown)
    for name in ("stack/secrets/ours", "stack/secrets/theirs", "elsewhere/ours"):
        write(tmp_path / name)
    own_secrets(tmp_path / "stack", ["ours", "not made yet"], account)
    assert given == [("stack/secrets", 997, 996), ("stack/secrets/ours", 997, 996)]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/secrets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PreflightError, match="secrets is a link"):
        own_secrets(tmp_path / "linked", ["ours"], account)
    own_secrets(tmp_path / "stack", ["ours"], ServiceUser("provision", 65534, 65534, True, exists=False))
    assert len(given) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_full_disk_can_be_freed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        write(disk / "data/artifacts/1/a.txt")
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            (disk / "data/another").mkdir()
        assert remove_data(disk) == ["data/artifacts"]
        assert not (disk / "data").exists()


def test_what_was_started_ends_and_goes_while_nothing_can_be_written(tmp_path: Path) -> None:
    runtime = embedded_runtime(build_stack(Settings(), "embedded"), Instance(tmp_path, "disk-test", 5001))
    write(tmp_path / "data/artifacts/1/a.txt")
    write_memory(tmp_path, Memory(this_machine(), applied={"mlflow": "m1"}))
    recorder = Recorder()
    with nothing_can_be_written():
        runtime.stop(recorder)
    assert [warned.subject for warned in recorder.warnings] == ["memory"]
    assert (tmp_path / "data/artifacts").is_dir()
    with nothing_can_be_written():
        runtime.erase(recorder)
    assert list(tmp_path.iterdir()) == []
