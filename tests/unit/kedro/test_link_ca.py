"""Private certificates go to a project's runs by a path in credentials.yml; git sees nothing of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from provisioner.kedro.unlink import unlink
from provisioner.output import Recorder
from tests.support.certificates import Authority
from tests.support.link_project import LOGIN, SHARED, do_link, make_project, snapshot

VARIABLE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
ROOT = Authority().root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", {"conf/base/": "", "conf/local/": ""})


def entry(project: Path) -> dict[str, str]:
    return dict(yaml.safe_load((project / "conf/local/credentials.yml").read_text())["mlflow_server"])


def test_the_path_stands_beside_the_login_and_the_file_has_the_certificates(project: Path) -> None:
    do_link(project, SHARED, credentials=LOGIN, ca=ROOT)
    assert list(entry(project)) == ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", VARIABLE]
    kept = Path(entry(project)[VARIABLE])
    assert kept.read_bytes() == ROOT
    assert kept.is_relative_to(os.environ["PROVISION_STATE_DIR"])
    assert (
        yaml.safe_load((project / "conf/base/mlflow.yml").read_text())["server"]["credentials"]
        == "mlflow_server"
    )


def test_without_a_login_it_stands_alone(project: Path) -> None:
    do_link(project, SHARED, ca=ROOT)
    assert list(entry(project)) == [VARIABLE]


def test_new_certificates_take_the_place_of_old_ones_and_none_leaves_none(project: Path) -> None:
    do_link(project, SHARED, credentials=LOGIN, ca=ROOT)
    kept = Path(entry(project)[VARIABLE])
    other = Authority("Another").root
    do_link(project, SHARED, credentials=LOGIN, ca=other)
    assert kept.read_bytes() == other
    do_link(project, SHARED, credentials=LOGIN)
    assert VARIABLE not in entry(project)
    assert not kept.exists()


def test_unlink_leaves_nothing_of_it(project: Path) -> None:
    before = snapshot(project)
    do_link(project, SHARED, ca=ROOT)
    kept = Path(entry(project)[VARIABLE])
    unlink(project, Recorder())
    assert snapshot(project) == before
    assert not kept.exists()


def test_a_dry_run_keeps_nothing(project: Path) -> None:
    before = snapshot(project)
    do_link(project, SHARED, ca=ROOT, dry_run=True)
    assert snapshot(project) == before
    assert not list(Path(os.environ["PROVISION_STATE_DIR"]).rglob("*.crt"))
