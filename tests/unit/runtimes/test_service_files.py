"""What services have written is read as a file of theirs, and as nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.errors import ProvisionError, Unhealthy
from provisioner.model.settings import Settings
from provisioner.model.stack import build_stack
from provisioner.runtimes.base import Instance
from provisioner.runtimes.embedded.processes import CADDY_HOME
from provisioner.runtimes.embedded.runtime import EmbeddedRuntime, embedded_runtime
from provisioner.runtimes.embedded.state import Memory
from provisioner.runtimes.embedded.supervisor import read_note, read_starts, tail
from provisioner.runtimes.tls_files import ROOT_CERTIFICATE
from provisioner.stack.ca_bundle import authority_of
from tests.support.certificates import Authority

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SERVICES = 1234


def runtime_at(directory: Path) -> EmbeddedRuntime:
    return embedded_runtime(build_stack(Settings(), "embedded"), Instance(directory, "files-test", 5001))


def folder(path: Path) -> Path:
    """That directory, of the account that services run as."""
    path.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(path, SERVICES, SERVICES)
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "only-for-root"
    path.write_text("root:secret\n")
    path.chmod(0o600)
    return path


@as_root
def test_the_proxys_authority_is_no_link_to_a_file_of_roots(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / CADDY_HOME / ROOT_CERTIFICATE
    folder(path.parent)
    path.symlink_to(secret)
    with pytest.raises(ProvisionError, match="symbolic link"):
        runtime_at(tmp_path).certificate_authority()


def test_of_the_proxys_authority_certificates_alone_are_handed_on(tmp_path: Path) -> None:
    path, root = tmp_path / CADDY_HOME / ROOT_CERTIFICATE, Authority().root
    folder(path.parent)
    path.write_bytes(b"root:secret\n" + root)
    assert authority_of(runtime_at(tmp_path)) == root
    path.write_text("root:secret\n")
    with pytest.raises(Unhealthy, match="no certificate") as caught:
        authority_of(runtime_at(tmp_path))
    assert "secret" not in f"{caught.value.what}{caught.value.why}"


@as_root
def test_notes_and_logs_lead_to_no_file_of_roots(tmp_path: Path, secret: Path) -> None:
    run, logs = folder(tmp_path / "provision-run"), folder(tmp_path / "logs")
    for path in (run / "mlflow.taken", run / "mlflow.starts", logs / "mlflow.log"):
        path.symlink_to(secret)
    assert read_note(Memory(run=str(run)), "mlflow", "taken") is None
    assert read_starts(Memory(run=str(run)), "mlflow") == []
    assert tail(logs / "mlflow.log", 10) == ""


def test_pipes_in_place_of_notes_and_logs_keep_nobody_waiting(tmp_path: Path) -> None:
    run = folder(tmp_path / "provision-run")
    for name in ("mlflow.taken", "mlflow.starts", "mlflow.log"):
        os.mkfifo(run / name)
    assert read_note(Memory(run=str(run)), "mlflow", "taken") is None
    assert read_starts(Memory(run=str(run)), "mlflow") == []
    assert tail(run / "mlflow.log", 10) == ""


def test_a_log_is_shown_from_its_end_and_that_before_it(tmp_path: Path) -> None:
    (tmp_path / "a.log.1").write_text("one\ntwo\n")
    (tmp_path / "a.log").write_text("three\n")
    assert tail(tmp_path / "a.log", 2) == "two\nthree"
