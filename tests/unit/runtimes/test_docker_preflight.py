"""Engines and machines on which the images of a stack do not run, and what each is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provisioner.errors import PreflightError
from provisioner.runtimes.docker.preflight import LABEL, check_api, check_label, refuses_threads


@pytest.mark.parametrize(
    ("minimum", "compose", "refused"),
    [
        ("1.44", "2.23.3", True),
        ("1.44", "v2.24.0", False),
        ("1.24", "2.20.0", False),
        ("", "2.20.0", False),
        ("1.45", "v5.6.1", False),
    ],
)
def test_a_compose_that_the_engine_no_longer_answers_is_refused(
    minimum: str, compose: str, refused: bool
) -> None:
    if not refused:
        check_api(minimum, compose)
        return
    with pytest.raises(PreflightError, match="too old for this engine") as caught:
        check_api(minimum, compose)
    assert "2.24" in caught.value.hint


@pytest.mark.parametrize(
    "label",
    ["unconfined_u:object_r:container_file_t:s0\n", "system_u:object_r:container_share_t:s0", "?", ""],
)
def test_a_directory_that_containers_may_read_is_taken(label: str) -> None:
    check_label(label, Path("/srv/stack"))


def test_a_directory_that_selinux_closes_to_containers_is_refused_with_the_command_that_opens_it() -> None:
    with pytest.raises(PreflightError, match="SELinux") as caught:
        check_label("unconfined_u:object_r:user_home_t:s0\n", Path("/srv/stack"))
    assert "user_home_t" in caught.value.why
    assert "chcon -Rt container_file_t /srv/stack" in caught.value.hint


def test_where_selinux_is_not_enforced_there_is_no_label(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", LABEL, "sh", str(tmp_path / "none")], capture_output=True, text=True, check=True
    )
    enforced = Path("/sys/fs/selinux/enforce")
    assert bool(done.stdout) == (enforced.exists() and enforced.read_text() == "1")


@pytest.mark.parametrize(
    ("engine", "log", "refused"),
    [
        ("20.10.7", "RuntimeError: can't start new thread", True),
        ("20.10.5+dfsg1", "initdb: could not execute: Operation not permitted", True),
        ("20.10.10", "RuntimeError: can't start new thread", False),
        ("20.10.24+dfsg1", "Operation not permitted", False),
        ("20.10.7", "FATAL: password authentication failed", False),
        ("29.1.3", "Operation not permitted", False),
    ],
)
def test_an_engine_that_refuses_a_new_system_call_is_known_by_version_and_log(
    engine: str, log: str, refused: bool
) -> None:
    assert refuses_threads(engine, log) is refused
