"""The files of a stack of another release: used as they stand, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import PreflightError
from provisioner.model.release import Release
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import build_stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.output import Recorder
from provisioner.runtimes.base import Instance, RenderedFile, Runtime
from provisioner.runtimes.caddyfile import CADDYFILE
from provisioner.runtimes.choose import make_runtime
from provisioner.runtimes.docker.runtime import DockerRuntime
from provisioner.runtimes.embedded.fingerprint import fingerprints
from provisioner.runtimes.embedded.runtime import EmbeddedRuntime
from provisioner.runtimes.embedded.supervisord_conf import SERVICES_JSON, SUPERVISORD_CONF
from provisioner.runtimes.recipe import Recipe
from provisioner.stack.directory import put_files
from provisioner.system.host import LocalHost
from tests.support.certificates import Authority, write_pair

RUNTIMES: tuple[RuntimeKind, ...] = ("docker", "embedded")
OLDER = Release("0.0.9", "3.16.1")
FILES = (
    "server: {auth: basic, bind: '::', tls: files, public_url: 'https://mlflow.example.com', "
    "tls_certificate: cert.pem, tls_key: key.pem}"
)


def runtime(kind: RuntimeKind, text: str, directory: Path, recipe: Recipe | None = None) -> Runtime:
    stack = build_stack(parse_settings(text), kind)
    instance = Instance(directory, "mlflow-abc123", 5001, identity="0123", recipe=recipe)
    return make_runtime(stack, instance, LocalHost())


def kept(made: Runtime, directory: Path) -> Recipe:
    """The recipe of a stack whose files lie in the directory."""
    files = made.files()
    put_files(LocalHost(), directory, files)
    return Recipe(OLDER, made.recipe_digests(files), directory, LocalHost())


def changed(before: dict[str, RenderedFile], now: dict[str, RenderedFile]) -> set[str]:
    return {path for path in {*before, *now} if before.get(path) != now.get(path)}


@pytest.mark.parametrize("kind", RUNTIMES)
def test_the_files_of_another_release_are_those_that_stand_there(kind: RuntimeKind, tmp_path: Path) -> None:
    made = runtime(kind, "", tmp_path)
    files = dict(made.files())
    recipe = kept(made, tmp_path)
    # What this release would render of settings that say something else is not asked.
    again = runtime(kind, "server: {auth: basic, workers: 9}", tmp_path, recipe)
    assert dict(again.files()) == files
    assert again.recipe_digests(again.files()) == recipe.digests


@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_file_that_is_gone_or_another_is_refused_by_name(kind: RuntimeKind, tmp_path: Path) -> None:
    recipe = kept(runtime(kind, "", tmp_path), tmp_path)
    own = "docker-compose.yml" if kind == "docker" else "deploy/embedded/services.json"
    for path in (own, CADDYFILE, "deploy/provision_server/settings.py"):
        content = (tmp_path / path).read_bytes()
        for damage in ("changed since", "not there"):
            if damage == "not there":
                (tmp_path / path).unlink()
            else:
                (tmp_path / path).write_bytes(content + b"\n# mine\n")
            anew = Recipe(OLDER, recipe.digests, tmp_path, LocalHost())
            with pytest.raises(PreflightError, match=r"not as provision 0\.0\.9 with MLflow 3") as raised:
                runtime(kind, "", tmp_path, anew).files()
            assert raised.value.why == f"{path}: {damage}"
            assert "`provision up` by provision 0.0.9" in raised.value.hint
        (tmp_path / path).write_bytes(content)


@pytest.mark.parametrize("kind", RUNTIMES)
def test_no_job_is_started_from_a_file_that_was_changed(kind: RuntimeKind, tmp_path: Path) -> None:
    recipe = kept(runtime(kind, "", tmp_path), tmp_path)
    own = "docker-compose.yml" if kind == "docker" else SERVICES_JSON
    text = (tmp_path / own).read_text()
    changes = {"docker": ("  mlflow:\n", "  mlflow:\n    privileged: true\n"), "embedded": ("python", "sh")}
    (tmp_path / own).write_text(text.replace(*changes[kind]))
    with pytest.raises(PreflightError, match="not as provision") as raised:
        runtime(kind, "", tmp_path, recipe).run_job("copy")
    assert raised.value.why == f"{own}: changed since"


def test_a_stack_whose_files_were_never_listed_is_refused(tmp_path: Path) -> None:
    made = runtime("docker", "", tmp_path)
    kept(made, tmp_path)
    with pytest.raises(PreflightError, match="not as provision") as raised:
        runtime("docker", "", tmp_path, Recipe(OLDER, {}, tmp_path, LocalHost())).files()
    assert "was not kept" in raised.value.why
    damaged = Recipe(OLDER, {}, tmp_path, LocalHost(), "recipe has the path '/etc', which is absolute")
    with pytest.raises(PreflightError, match="not as provision") as raised:
        runtime("docker", "", tmp_path, damaged).files()
    assert "'/etc', which is absolute" in raised.value.why


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("docker", "docker-compose.yml"),
        ("docker", ".env"),
        ("docker", CADDYFILE),
        ("embedded", CADDYFILE),
        ("embedded", SERVICES_JSON),
        ("embedded", SUPERVISORD_CONF),
    ],
)
def test_a_recipe_without_what_is_needed_is_refused_by_name(
    kind: RuntimeKind, path: str, tmp_path: Path
) -> None:
    digests = dict(kept(runtime(kind, "", tmp_path), tmp_path).digests)
    del digests[path]
    lacking = runtime(kind, "", tmp_path, Recipe(OLDER, digests, tmp_path, LocalHost()))
    with pytest.raises(PreflightError, match="not as provision") as raised:
        lacking.files()
    assert raised.value.why == f"state.json: recipe has no digest of {path}"


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        (SERVICES_JSON, b"{}", "no process with a home"),
        (SERVICES_JSON, b"[" * 100_000, "no JSON of a launcher"),
        (SERVICES_JSON, b"\xff", "decode"),
        (CADDYFILE, b"\xff", "decode"),
        (SUPERVISORD_CONF, b"no section", "no section"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_what_is_left_ends_the_stack(
    path: str, content: bytes, why: str, tmp_path: Path
) -> None:
    made = runtime("embedded", "", tmp_path)
    kept(made, tmp_path)
    (tmp_path / path).write_bytes(content)
    there = {name: RenderedFile((tmp_path / name).read_bytes()) for name in made.files()}
    recipe = Recipe(OLDER, made.recipe_digests(there), tmp_path, LocalHost())
    older = runtime("embedded", "", tmp_path, recipe)
    with pytest.raises(PreflightError, match="not as provision") as raised:
        older.files()
    assert why in raised.value.why
    assert older.observe().services == {}
    older.stop(Recorder())


@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_renewed_certificate_changes_what_it_changes_in_this_release(
    kind: RuntimeKind, tmp_path: Path
) -> None:
    authority = Authority()
    write_pair(tmp_path, *authority.issue("mlflow.example.com"))
    recipe = kept(runtime(kind, FILES, tmp_path), tmp_path)
    before = dict(runtime(kind, FILES, tmp_path, recipe).files())
    write_pair(tmp_path, *authority.issue("mlflow.example.com"))
    rendered = dict(runtime(kind, FILES, tmp_path).files())
    now = dict(runtime(kind, FILES, tmp_path, recipe).files())
    assert changed(before, now) == {"deploy/caddy/tls.crt", "deploy/caddy/Caddyfile"} | (
        {"docker-compose.yml"} if kind == "docker" else set()
    )
    assert {path: file.content.replace(b'"', b"") for path, file in now.items()} == {
        path: file.content.replace(b'"', b"") for path, file in rendered.items()
    }
    put_files(LocalHost(), tmp_path, now)
    # With the files of the renewal it is still the same recipe.
    anew = Recipe(OLDER, recipe.digests, tmp_path, LocalHost())
    assert dict(runtime(kind, FILES, tmp_path, anew).files()) == now


def test_the_images_are_those_that_the_file_of_that_release_names(tmp_path: Path) -> None:
    recipe = kept(runtime("docker", "", tmp_path), tmp_path)
    named = runtime("docker", "", tmp_path)
    assert isinstance(named, DockerRuntime)
    compose = tmp_path / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("postgres:18.6-trixie", "postgres:17.1-trixie"))
    there = {path: RenderedFile((tmp_path / path).read_bytes()) for path in recipe.digests}
    digests = named.recipe_digests(there)
    older = runtime("docker", "", tmp_path, Recipe(OLDER, digests, tmp_path, LocalHost()))
    assert isinstance(older, DockerRuntime)
    assert older.server_image() == named.server_image()
    assert set(older.images()) - set(named.images()) == {"postgres:17.1-trixie"}


def test_the_environment_is_made_from_the_locks_in_the_directory(tmp_path: Path) -> None:
    recipe = kept(runtime("embedded", "", tmp_path), tmp_path)
    lock = tmp_path / "deploy/requirements-embedded.txt"
    lock.write_text(lock.read_text().replace("mlflow==", "mlflow==3.16.1 # "))
    ours = runtime("embedded", "", tmp_path)
    older = runtime("embedded", "", tmp_path, recipe)
    assert isinstance(ours, EmbeddedRuntime)
    assert isinstance(older, EmbeddedRuntime)
    assert b"mlflow==3.16.1" in older._environment.recipe.packages
    assert older._environment.path != ours._environment.path
    assert older._specs[0].argv[0].startswith(str(older._environment.path)), "it follows the environment"


def test_a_service_of_another_release_is_known_by_what_its_files_say(tmp_path: Path) -> None:
    made = runtime("embedded", "", tmp_path)
    files = dict(made.files())
    rendered = fingerprints(files)
    assert rendered == {"initdb": rendered["initdb"], **made.desired()}
    for path, before, now, changed_ones in (
        (SERVICES_JSON, '"mlflow": {', '"mlflow": {"of a later release": 1,', {"mlflow"}),
        (SUPERVISORD_CONF, "[program:proxy]", "[program:proxy]\nstopasgroup=true", {"proxy"}),
        (SUPERVISORD_CONF, "priority=30", "priority=40", set()),
        ("deploy/provision_server/settings.py", '"""', '# Another.\n"""', {"bootstrap", "mlflow"}),
    ):
        content = files[path].content.decode().replace(before, now, 1)
        found = fingerprints({**files, path: RenderedFile(content.encode())})
        assert {name for name in found if found[name] != rendered[name]} == changed_ones, path


def test_dockers_files_of_another_release_take_another_port(tmp_path: Path) -> None:
    made = runtime("docker", "", tmp_path)
    before = dict(made.files())
    recipe = kept(made, tmp_path)
    stack = build_stack(parse_settings(""), "docker")
    moved = make_runtime(
        stack, Instance(tmp_path, "mlflow-abc123", 5002, identity="0123", recipe=recipe), LocalHost()
    )
    files = dict(moved.files())
    assert changed(before, files) == {".env"}
    assert files[".env"].content == before[".env"].content.replace(b"=5001", b"=5002")
    put_files(LocalHost(), tmp_path, files)
    fresh = Recipe(OLDER, recipe.digests, tmp_path, LocalHost())
    again = make_runtime(
        stack, Instance(tmp_path, "mlflow-abc123", 5002, identity="0123", recipe=fresh), LocalHost()
    )
    assert dict(again.files()) == files
