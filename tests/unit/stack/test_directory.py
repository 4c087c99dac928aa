"""Which stack a command works on, and whose files it respects there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provisioner.errors import PreflightError, SettingsError, WouldLoseData
from provisioner.model.state import State
from provisioner.runtimes.base import RenderedFile
from provisioner.stack.directory import (
    GITIGNORE,
    changed_files,
    closed_files,
    refuse_others_files,
    write_files,
)
from provisioner.stack.find import find_directory, find_stack, read_stack, reread
from provisioner.system.host import LocalHost

RENDERED = {
    "docker-compose.yml": RenderedFile(b"# Made by `provision` from provision.yml\nservices: {}\n"),
    "Dockerfile": RenderedFile(b"FROM x\n"),
    "deploy/caddy/Caddyfile": RenderedFile(b"print()\n", 0o640),
}


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISION_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data" / "stacks" / "default"


@pytest.fixture
def below(tmp_path: Path) -> Path:
    """A directory two levels below a provision.yml."""
    (tmp_path / "provision.yml").touch()
    directory = tmp_path / "a" / "b"
    directory.mkdir(parents=True)
    return directory


def test_the_option_wins_over_all_else(below: Path, default: Path) -> None:
    assert find_directory(Path("/x"), below, {"PROVISION_STACK": "/y"}) == (Path("/x"), "--stack")


def test_the_variable_wins_over_what_is_near(below: Path, default: Path) -> None:
    assert find_directory(None, below, {"PROVISION_STACK": "/y"}) == (Path("/y"), "$PROVISION_STACK")


def test_the_nearest_settings_upwards_win_over_the_default(
    below: Path, default: Path, tmp_path: Path
) -> None:
    assert find_directory(None, below, {}) == (tmp_path, "the nearest provision.yml")
    (below / "provision.yml").touch()
    assert find_directory(None, below, {}) == (below, "the nearest provision.yml")


@pytest.mark.parametrize("environ", [{}, {"PROVISION_STACK": ""}])
def test_without_any_it_is_the_users_default(tmp_path: Path, default: Path, environ: dict[str, str]) -> None:
    assert find_directory(None, tmp_path, environ) == (default, "your default stack")


def test_a_stack_has_one_directory_by_whatever_way_it_is_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("s", "else", "far/away"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "else")
    assert find_directory(Path("../s"), Path.cwd(), {})[0] == tmp_path.resolve() / "s"
    assert (
        find_directory(None, Path.cwd(), {"PROVISION_STACK": f"{tmp_path}/else/../s"})[0]
        == tmp_path.resolve() / "s"
    )
    (tmp_path / "link").symlink_to(tmp_path / "far/away")
    assert find_directory(Path("../link/../s"), Path.cwd(), {})[0] == tmp_path.resolve() / "far/s", (
        "the way that the file system goes"
    )
    assert find_directory(tmp_path / "link", Path.cwd(), {})[0] == tmp_path / "link"


def test_a_file_is_no_stack(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError, match="a stack's directory is a file"):
        find_stack(tmp_path / "file")


def test_a_fault_in_the_settings_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "provision.yml").write_text("server:\n  port: x\n")
    with pytest.raises(SettingsError) as caught:
        find_stack(tmp_path)
    assert [fault.where for fault in caught.value.all()] == [f"{tmp_path}/provision.yml:2"]


def test_a_relative_directory_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_directory(Path("s"), tmp_path, {})[0] == tmp_path / "s"
    assert find_directory(None, tmp_path, {"PROVISION_STACK": "s"})[0] == tmp_path / "s"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_settings_upwards_of_another_user_are_refused_unless_named(
    below: Path, default: Path, tmp_path: Path
) -> None:
    os.chown(tmp_path / "provision.yml", 1234, -1)
    with pytest.raises(PreflightError) as caught:
        find_directory(None, below, {})
    assert "belongs to another user" in caught.value.what
    assert "owner 1234" in caught.value.why
    assert f"--stack {tmp_path}" in caught.value.hint
    assert find_directory(tmp_path, below, {}) == (tmp_path, "--stack")


@pytest.mark.parametrize("made", [True, False])
def test_an_empty_or_absent_directory_is_a_stack_of_defaults(tmp_path: Path, made: bool) -> None:
    directory = tmp_path / "s"
    if made:
        directory.mkdir()
    context = read_stack(directory, "--stack", LocalHost())
    assert (context.settings.name, context.state) == ("mlflow", State())
    assert directory.exists() is made


def test_settings_that_are_no_text_are_refused_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "provision.yml").write_bytes(b"name: \xff\n")
    with pytest.raises(SettingsError) as caught:
        read_stack(tmp_path, "", LocalHost())
    assert caught.value.where == f"{tmp_path}/provision.yml, byte 6"


def test_two_directories_have_services_of_different_names_and_one_keeps_its_own(tmp_path: Path) -> None:
    one, two = (read_stack(tmp_path / name, "", LocalHost()) for name in ("one", "two"))
    assert one.project != two.project
    assert one.project.startswith("mlflow-")
    saved = one.save(one.state.with_(project="mlflow-first"))
    assert saved.project == "mlflow-first"
    (tmp_path / "one" / "provision.yml").write_text("name: other\n")
    assert reread(saved).project == "mlflow-first"


def test_a_state_that_is_as_it_was_is_not_written(tmp_path: Path) -> None:
    context = read_stack(tmp_path, "", LocalHost())
    context.save(context.state)
    assert not (tmp_path / "state.json").exists()


def test_files_are_written_with_their_modes_and_are_then_unchanged(tmp_path: Path) -> None:
    context = read_stack(tmp_path / "s", "", LocalHost())
    assert changed_files(context, RENDERED) == RENDERED
    write_files(context, RENDERED)
    assert changed_files(context, RENDERED) == {}
    assert (tmp_path / "s/deploy/caddy/Caddyfile").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "s/.gitignore").read_bytes() == GITIGNORE


def test_only_what_differs_is_to_be_written(tmp_path: Path) -> None:
    context = read_stack(tmp_path, "", LocalHost())
    write_files(context, RENDERED)
    (tmp_path / "Dockerfile").write_text("FROM y\n")
    assert list(changed_files(context, RENDERED)) == ["Dockerfile"]


def test_others_can_read_what_is_rendered_whatever_the_umask(tmp_path: Path) -> None:
    context = read_stack(tmp_path / "stack", "", LocalHost())
    old = os.umask(0o077)
    try:
        context.directory.mkdir()
        write_files(context, RENDERED)
    finally:
        os.umask(old)
    modes = {
        path.relative_to(context.directory).as_posix(): path.stat().st_mode & 0o777
        for path in context.directory.rglob("*")
    }
    assert {name: mode for name, mode in modes.items() if name in {"deploy", "deploy/caddy", *RENDERED}} == {
        "deploy": 0o755,
        "deploy/caddy": 0o755,
        "deploy/caddy/Caddyfile": 0o640,
        "docker-compose.yml": 0o644,
        "Dockerfile": 0o644,
    }
    assert context.directory.stat().st_mode & 0o777 == 0o700, "the stack's own directory is the user's"


@pytest.mark.parametrize(
    ("path", "mode"),
    [("deploy", 0o700), ("deploy/caddy", 0o750), ("deploy/caddy/Caddyfile", 0o600), ("Dockerfile", 0o640)],
)
def test_what_others_cannot_read_is_written_once_more(tmp_path: Path, path: str, mode: int) -> None:
    context = read_stack(tmp_path, "", LocalHost())
    rendered = {**RENDERED, "deploy/caddy/Caddyfile": RenderedFile(b"print()\n")}
    write_files(context, rendered)
    assert closed_files(context, rendered) == {}
    (tmp_path / path).chmod(mode)
    closed = closed_files(context, rendered)
    assert set(closed) == {name for name in rendered if name.startswith(path)}
    write_files(context, closed)
    assert closed_files(context, rendered) == {}


@pytest.mark.parametrize("link", ["deploy", "deploy/caddy"])
def test_a_directory_that_is_a_link_is_named_and_not_opened(tmp_path: Path, link: str) -> None:
    context = read_stack(tmp_path / "stack", "", LocalHost())
    theirs = tmp_path / "theirs"
    write_files(context, RENDERED)
    (tmp_path / "stack" / link).rename(theirs)
    (tmp_path / "stack" / link).symlink_to(theirs)
    theirs.chmod(0o700)
    before = {path: path.stat() for path in (theirs, *theirs.rglob("*"))}
    for put in (closed_files, write_files):
        with pytest.raises(PreflightError, match=f"{link} is a link to {theirs}") as caught:
            put(context, RENDERED)
        assert caught.value.where == str(tmp_path / "stack" / link)
        assert caught.value.hint
    assert {path: path.stat() for path in (theirs, *theirs.rglob("*"))} == before


@pytest.mark.parametrize("path", ["../theirs/file", "deploy/../../theirs/file", "{tmp}/theirs/file"])
def test_what_is_outside_of_the_directory_is_neither_opened_nor_written(tmp_path: Path, path: str) -> None:
    context = read_stack(tmp_path / "stack", "", LocalHost())
    (tmp_path / "stack").mkdir()
    (tmp_path / "theirs").mkdir(mode=0o700)
    files = {path.format(tmp=tmp_path): RenderedFile(b"ours")}
    for put in (closed_files, write_files):
        with pytest.raises(PreflightError, match=r"absolute|empty"):
            put(context, files)
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o700
    assert not any((tmp_path / "theirs").iterdir())


def test_the_users_own_gitignore_stays(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    write_files(read_stack(tmp_path, "", LocalHost()), RENDERED)
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["docker-compose.yml", "Dockerfile"])
def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("theirs\n")
    with pytest.raises(WouldLoseData) as caught:
        refuse_others_files(read_stack(tmp_path, "", LocalHost()), RENDERED, "docker")
    assert caught.value.what == f"{name} is there and was not made by provision"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "theirs\n"


def test_files_of_a_stack_that_was_made_here_are_ours_to_overwrite(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("an older version\n")
    context = read_stack(tmp_path, "", LocalHost()).save(State(project="mlflow-abc123"))
    write_files(context, RENDERED)
    assert (tmp_path / "Dockerfile").read_text() == "FROM x\n"


def test_files_that_an_erased_stack_has_left_are_ours_to_overwrite(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("an older version\n")
    (tmp_path / ".gitignore").write_bytes(GITIGNORE)
    refuse_others_files(read_stack(tmp_path, "", LocalHost()), RENDERED, "embedded")
