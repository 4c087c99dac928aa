"""A login that a project has for another server is sent to this one only when the user says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.actions.link import LinkOptions, link_project
from provisioner.errors import EditRefused, LinkRefused
from provisioner.kedro.address import warnings_of_environment
from provisioner.kedro.link import Credentials
from provisioner.kedro.old_login import OldLoginFound, decided
from provisioner.kedro.unlink import unlink
from provisioner.model.secret import Secret
from provisioner.output import Recorder
from tests.support.link_project import (
    BASE,
    LOCAL,
    LOGIN,
    NO_KEDRO,
    SETTINGS,
    SHARED,
    SOFT,
    URI,
    answering,
    do_link,
    make_project,
    snapshot,
)

ENTRY = "their_login:\n  MLFLOW_TRACKING_USERNAME: bob\n  MLFLOW_TRACKING_PASSWORD: his-alone\n"
CREDENTIALS = "conf/local/credentials.yml"
NAMED = "server:\n  mlflow_tracking_uri: http://old.example.org\n  credentials: their_login\n"


def loaded(project: Path, name: str = LOCAL) -> dict[str, Any]:
    return dict(yaml.safe_load((project / name).read_text())["server"])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "demo", {"conf/base/": "", LOCAL: NAMED, CREDENTIALS: ENTRY})


def test_nobody_has_decided_so_nothing_is_changed(project: Path) -> None:
    before = snapshot(project)
    with pytest.raises(OldLoginFound) as caught:
        do_link(project)
    told = caught.value
    assert "'their_login'" in told.what
    assert "http://old.example.org" in told.what
    assert URI in told.why
    assert all(option in told.hint for option in ("--user NAME", "--old-login remove", "--old-login keep"))
    assert "his-alone" not in f"{told.what} {told.why} {told.hint} {told.question}"
    assert snapshot(project) == before


def test_a_login_that_is_removed_stays_away_and_comes_back_with_unlink(project: Path) -> None:
    before, recorder = snapshot(project), Recorder()
    do_link(project, old_login="remove", recorder=recorder)
    assert loaded(project) == {"mlflow_tracking_uri": URI, "credentials": None}
    assert (project / CREDENTIALS).read_text() == ENTRY
    assert ("removed", "login") in {(step.verb, step.subject) for step in recorder.steps}
    # The decision holds for this server, and for no other.
    assert do_link(project).changed == ()
    with pytest.raises(OldLoginFound):
        do_link(project, SHARED)
    unlink(project, Recorder())
    assert snapshot(project) == before


def test_a_login_that_is_kept_is_said_and_not_asked_for_again(project: Path) -> None:
    recorder = Recorder()
    do_link(project, old_login="keep", recorder=recorder)
    assert loaded(project) == {"mlflow_tracking_uri": URI, "credentials": "their_login"}
    assert any("is sent to" in warning.text for warning in recorder.warnings)
    assert do_link(project).changed == ()


def test_the_decision_follows_a_stack_that_moves_and_ends_with_another_one(project: Path) -> None:
    do_link(project, old_login="remove", identity="one")
    do_link(project, "http://127.0.0.1:6000", identity="one")
    assert loaded(project)["credentials"] is None
    with pytest.raises(OldLoginFound):
        do_link(project, "http://127.0.0.1:6000", identity="two")


def test_a_login_of_this_server_is_left_as_it_is(tmp_path: Path) -> None:
    named = NAMED.replace("http://old.example.org", f"{URI}/")
    project = make_project(tmp_path / "demo", {"conf/base/": "", LOCAL: named, CREDENTIALS: ENTRY})
    do_link(project)
    assert loaded(project) == {"mlflow_tracking_uri": URI, "credentials": "their_login"}


def test_a_new_stack_at_the_same_address_is_another_server(tmp_path: Path) -> None:
    named = NAMED.replace("http://old.example.org", URI)
    project = make_project(tmp_path / "demo", {"conf/base/": "", LOCAL: named, CREDENTIALS: ENTRY})
    do_link(project, identity="one")
    with pytest.raises(OldLoginFound):
        do_link(project, identity="two")


def test_a_login_for_this_server_gets_an_entry_of_its_own(project: Path) -> None:
    before = snapshot(project)
    do_link(project, credentials=LOGIN)
    assert loaded(project)["credentials"] == "mlflow_server"
    entries = yaml.safe_load((project / CREDENTIALS).read_text())
    assert entries["their_login"] == {
        "MLFLOW_TRACKING_USERNAME": "bob",
        "MLFLOW_TRACKING_PASSWORD": "his-alone",
    }
    assert entries["mlflow_server"]["MLFLOW_TRACKING_USERNAME"] == LOGIN.username
    unlink(project, Recorder())
    assert snapshot(project) == before


@pytest.mark.parametrize("name", ["mlflow_server", "their_login"])
def test_certificates_for_this_server_bring_no_old_login_along(tmp_path: Path, name: str) -> None:
    files = {
        "conf/base/": "",
        LOCAL: NAMED.replace("their_login", name),
        CREDENTIALS: ENTRY.replace("their_login", name),
    }
    project = make_project(tmp_path / "demo", files)
    do_link(project, ca=b"certificates", old_login="remove")
    entry = loaded(project)["credentials"]
    assert entry != name
    assert set(yaml.safe_load((project / CREDENTIALS).read_text())[entry]) == {
        "MLFLOW_TRACKING_SERVER_CERT_PATH"
    }


@pytest.mark.parametrize(
    ("code", "files"),
    [
        (SETTINGS, {BASE: NAMED, "conf/local/": ""}),
        (SOFT, {BASE: NAMED, "conf/local/": ""}),
        (
            SOFT,
            {
                BASE: "server:\n  credentials: their_login\n",
                LOCAL: "server:\n  mlflow_tracking_uri: http://old\n",
            },
        ),
        (SETTINGS, {"conf/base/": "", LOCAL: "server:\n  credentials: their_login\n"}),
        (SETTINGS, {"conf/base/": "", LOCAL: NAMED, CREDENTIALS: "their_login: ${oc.env:LOGIN}\n"}),
        (
            SETTINGS,
            {"conf/base/": "", LOCAL: NAMED, CREDENTIALS: "their_login:\n  MLFLOW_TRACKING_TOKEN: t\n"},
        ),
        (SETTINGS, {"conf/base/credentials.yml": ENTRY, LOCAL: NAMED, CREDENTIALS: "other: {}\n"}),
    ],
)
def test_it_is_found_wherever_a_run_would_find_it(tmp_path: Path, code: str, files: dict[str, str]) -> None:
    project = make_project(tmp_path / "demo", {CREDENTIALS: ENTRY, **files}, code)
    before = snapshot(project)
    with pytest.raises(OldLoginFound):
        do_link(project)
    assert snapshot(project) == before
    do_link(project, old_login="remove")
    assert loaded(project)["credentials"] is None


def test_a_name_that_only_kedro_can_tell_may_be_a_login(tmp_path: Path) -> None:
    named = NAMED.replace("their_login", "${globals:login}")
    project = make_project(tmp_path / "demo", {"conf/base/": "", LOCAL: named, CREDENTIALS: ENTRY})
    with pytest.raises(OldLoginFound):
        do_link(project)
    with pytest.raises(EditRefused, match="cannot be edited safely") as caught:
        do_link(project, old_login="remove")
    assert "write a plain value for server.credentials" in caught.value.hint
    do_link(project, old_login="keep")
    assert loaded(project)["credentials"] == "${globals:login}"


@pytest.mark.parametrize(
    "entry", ["", "their_login: {AWS_SECRET_ACCESS_KEY: k}\n", "other: {MLFLOW_TRACKING_USERNAME: bob}\n"]
)
def test_an_entry_without_a_login_is_none(tmp_path: Path, entry: str) -> None:
    project = make_project(tmp_path / "demo", {"conf/base/": "", LOCAL: NAMED, CREDENTIALS: entry})
    do_link(project)
    assert loaded(project)["credentials"] == "their_login"


def test_a_registry_elsewhere_would_get_this_servers_login(tmp_path: Path) -> None:
    files = {
        "conf/base/": "",
        LOCAL: "server:\n  mlflow_tracking_uri: http://old\n  mlflow_registry_uri: http://models\n",
    }
    project = make_project(tmp_path / "demo", files)
    before = snapshot(project)
    for options in ({"credentials": LOGIN}, {"home": LOGIN}, {"login_in_shell": True}):
        with pytest.raises(LinkRefused, match="would be sent to http://models"):
            do_link(project, **options)
    assert snapshot(project) == before
    do_link(project)
    assert loaded(project)["mlflow_registry_uri"] == "http://models"


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"])
def test_a_login_in_the_shell_is_said_where_the_server_asked_for_none(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "bob")
    told = warnings_of_environment(URI, has_login=False)
    assert [subject for subject, _ in told] == ["login"]
    assert name in told[0][1]
    assert warnings_of_environment(URI, has_login=True) == []


def test_where_there_is_nobody_to_ask_the_refusal_stands(project: Path) -> None:
    found = OldLoginFound("a login", question="Take it out?")
    asked: list[str] = []

    for ask in (None, answering(False, asked)):
        with pytest.raises(OldLoginFound):
            decided(found, ask)
    assert decided(found, answering(True, asked)) == "remove"
    assert asked == ["Take it out?"] * 2


def test_the_command_asks_and_then_links(project: Path) -> None:
    asked: list[str] = []

    def options(says: bool) -> LinkOptions:
        return LinkOptions(project, URI, python=NO_KEDRO, check=False, confirm=answering(says, asked))

    before = snapshot(project)
    with pytest.raises(OldLoginFound):
        link_project(None, options(False), Recorder())
    assert snapshot(project) == before
    link_project(None, options(True), Recorder())
    assert loaded(project)["credentials"] is None
    assert len(asked) == 2
    assert "unlink brings it back" in asked[0]


def test_a_password_is_in_no_record_of_the_decision(project: Path, tmp_path: Path) -> None:
    do_link(project, credentials=Credentials("ana", Secret("hers alone")), old_login="remove")
    from provisioner.system.paths import state_directory

    kept = b"".join(path.read_bytes() for path in state_directory().rglob("*.json"))
    assert b"hers alone" not in kept
