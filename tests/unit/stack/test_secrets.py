"""Secrets' files: made once, private, never over data; the user's own taken from the environment once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import PreflightError, ProvisionError, WouldLoseData
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import Stack, build_stack
from provisioner.output import Recorder
from provisioner.stack.context import StackContext
from provisioner.stack.find import read_stack
from provisioner.stack.secrets import (
    close_folder,
    given_anew,
    make_secrets,
    missing_secrets,
    needed_secret,
    read_secret,
    refuse_lost_secrets,
    refuse_ungiven,
    warn_of_open_folder,
)
from provisioner.system.host import LocalHost

S3 = "artifact_store: {kind: s3, bucket: team}\n"
KEY = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hunter2"}


def stack_at(directory: Path, text: str = "") -> tuple[StackContext, Stack]:
    return read_stack(directory, "", LocalHost()), build_stack(parse_settings(text), "docker")


def make(directory: Path, text: str = "", environ: dict[str, str] | None = None) -> Recorder:
    context, stack = stack_at(directory, text)
    recorder, missing = Recorder(), missing_secrets(context, stack)
    refuse_ungiven(context, missing, environ or {})
    make_secrets(context, missing, environ or {}, recorder)
    return recorder


def test_every_secret_is_a_file_in_a_directory_that_nobody_else_enters(tmp_path: Path) -> None:
    make(tmp_path / "s")
    folder = tmp_path / "s" / "secrets"
    _, stack = stack_at(tmp_path / "s")
    assert {path.name for path in folder.iterdir()} == {".gitignore", *(spec.name for spec in stack.secrets)}
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    # Services run as other users than the file's owner.
    assert {(folder / spec.name).stat().st_mode & 0o777 for spec in stack.secrets} == {0o444}
    assert len({(folder / spec.name).read_text() for spec in stack.secrets}) == len(stack.secrets)


def test_secrets_that_are_there_are_not_made_anew(tmp_path: Path) -> None:
    make(tmp_path)
    context, stack = stack_at(tmp_path)
    before = {spec.name: read_secret(context, spec.name) for spec in stack.secrets}
    assert missing_secrets(context, stack) == []
    (tmp_path / "secrets" / "flask_secret_key").unlink()
    make(tmp_path)
    after = {spec.name: read_secret(context, spec.name) for spec in stack.secrets}
    assert {name for name in after if after[name] != before[name]} == {"flask_secret_key"}


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "secrets" / "flask_secret_key"
    path.chmod(0o644)
    path.write_text("")
    context, stack = stack_at(tmp_path)
    assert [spec.name for spec in missing_secrets(context, stack)] == ["flask_secret_key"]
    assert read_secret(context, "flask_secret_key") is None


def test_a_key_of_the_user_is_taken_from_the_environment_once_and_not_shown(tmp_path: Path) -> None:
    recorder = make(tmp_path, S3, KEY)
    context, stack = stack_at(tmp_path, S3)
    found = read_secret(context, "s3_secret_access_key")
    assert found is not None
    assert found.reveal() == "hunter2"
    assert "hunter2" not in str(recorder.steps)
    assert recorder.steps[-1].detail == (
        "taken from the environment: secrets/s3_access_key_id from AWS_ACCESS_KEY_ID, "
        "secrets/s3_secret_access_key from AWS_SECRET_ACCESS_KEY"
    )
    assert missing_secrets(context, stack) == []


@pytest.mark.parametrize("environ", [{}, {"AWS_ACCESS_KEY_ID": "AKIA"}, {**KEY, "AWS_SECRET_ACCESS_KEY": ""}])
def test_without_the_users_key_nothing_is_made_and_both_ways_to_give_it_are_said(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(PreflightError) as caught:
        make(tmp_path, S3, environ)
    assert str(tmp_path / "secrets" / "s3_secret_access_key") in caught.value.where
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_secret_written_by_hand_may_end_in_a_newline(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("s3_access_key_id", "s3_secret_access_key"):
        (tmp_path / "secrets" / name).write_text("mine\n")
    make(tmp_path, S3)
    found = read_secret(stack_at(tmp_path)[0], "s3_secret_access_key")
    assert found is not None
    assert found.reveal() == "mine"


@pytest.mark.parametrize(
    ("known", "has_data", "refused"),
    [
        (["flask_secret_key"], True, True),
        ([], True, True),
        (["flask_secret_key"], False, False),
        (["another"], True, False),
    ],
    ids=["lost with data", "state lost with data", "lost without data", "new in the settings"],
)
def test_a_lost_secret_is_not_made_anew_over_data(
    tmp_path: Path, known: list[str], has_data: bool, refused: bool
) -> None:
    context, stack = stack_at(tmp_path)
    context = context.save(context.state.with_(secrets=tuple(known)))
    missing = [spec for spec in stack.secrets if spec.name == "flask_secret_key"]
    if not refused:
        refuse_lost_secrets(context, missing, has_data)
        return
    with pytest.raises(WouldLoseData, match="flask_secret_key") as caught:
        refuse_lost_secrets(context, missing, has_data)
    assert "backup" in caught.value.hint


@pytest.mark.parametrize(
    ("state", "replaced"),
    [
        ({}, ["s3_secret_access_key"]),
        ({"worked": ("s3_access_key_id", "s3_secret_access_key")}, []),
        # Before it was kept which have worked.
        ({"secrets": ("s3_secret_access_key",), "checked": {"mlflow": "f"}}, []),
        ({"secrets": ("s3_secret_access_key",)}, ["s3_secret_access_key"]),
        ({"worked": ("backend_store_password",), "checked": {"mlflow": "f"}}, ["s3_secret_access_key"]),
    ],
)
def test_a_value_that_never_worked_is_replaced_by_the_environments(
    tmp_path: Path, state: dict[str, Any], replaced: list[str]
) -> None:
    make(tmp_path, S3, KEY)
    context, stack = stack_at(tmp_path, S3)
    context = context.save(context.state.with_(**state))
    recorder = Recorder()
    assert given_anew(context, stack, KEY, recorder) == given_anew(context, stack, {}, recorder) == []
    other = KEY | {"AWS_SECRET_ACCESS_KEY": "swordfish"}
    assert recorder.steps == []
    assert [spec.name for spec in given_anew(context, stack, other, recorder)] == replaced
    assert bool(recorder.steps) is not bool(replaced)
    assert "swordfish" not in str(recorder.steps)


def test_a_secret_that_a_made_stack_has_lost_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="the secret postgres_password is not there") as caught:
        needed_secret(read_stack(tmp_path, "", LocalHost()), "postgres_password", ", or so")
    assert (caught.value.where, caught.value.hint) == (
        f"{tmp_path}/secrets/postgres_password",
        "put the stack's secrets back from a backup, or so",
    )


def warned(context: StackContext) -> list[str]:
    recorder = Recorder()
    warn_of_open_folder(context, recorder)
    return [one.text for one in recorder.warnings]


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o500])
def test_a_directory_that_others_can_enter_is_said_and_closed_again(tmp_path: Path, mode: int) -> None:
    context, recorder = stack_at(tmp_path)[0], Recorder()
    assert warned(context) == [], "there are no secrets yet"
    close_folder(context, recorder)
    assert not (tmp_path / "secrets").exists()
    make(tmp_path)
    assert warned(context) == []
    (tmp_path / "secrets").chmod(mode)
    (text,) = warned(context)
    assert text.startswith(f"{tmp_path}/secrets has the mode {mode:04o}")
    assert "`provision up` closes it" in text
    for _ in range(2):
        close_folder(context, recorder)
        assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert [(step.verb, step.subject) for step in recorder.steps] == [("closed", "secrets")]


def test_a_link_in_place_of_the_directory_is_refused_and_what_it_leads_to_left_alone(tmp_path: Path) -> None:
    directory, theirs = tmp_path / "stack", tmp_path / "theirs"
    make(directory)
    (directory / "secrets").rename(theirs)
    (directory / "secrets").symlink_to(theirs)
    theirs.chmod(0o755)
    before = {path: path.stat() for path in (theirs, *theirs.iterdir())}
    context, stack = stack_at(directory)
    for refuses in (
        lambda: missing_secrets(context, stack),
        lambda: read_secret(context, "postgres_password"),
        lambda: needed_secret(context, "postgres_password"),
        lambda: make_secrets(context, list(stack.secrets), {}, Recorder()),
        lambda: warn_of_open_folder(context, Recorder()),
        lambda: close_folder(context, Recorder()),
    ):
        with pytest.raises(PreflightError, match=f"stack/secrets is a link to {theirs}") as caught:
            refuses()
        assert caught.value.where == f"{directory}/secrets"
        assert f"`rm {directory}/secrets`" in caught.value.hint
    assert {path: path.stat() for path in (theirs, *theirs.iterdir())} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_of_the_services_account_gives_no_file_of_roots_as_a_secret(tmp_path: Path) -> None:
    make(tmp_path)
    context, stack = stack_at(tmp_path)
    path = tmp_path / "secrets" / stack.secrets[0].name
    os.chown(path.parent, 1234, 1234)
    (tmp_path / "shadow").write_text("root:secret")
    path.unlink()
    path.symlink_to("../shadow")
    for read in (lambda: read_secret(context, path.name), lambda: missing_secrets(context, stack)):
        with pytest.raises(ProvisionError, match="symbolic link"):
            read()
