"""What the server's own tracking store was written against, and what is said against its use."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from provision_server.settings import read_settings
from provision_server.stores import pinned
from provision_server.stores.schema import AUTH, TRACKING, head, mlflow_package

SERVER = Path(__file__).parents[3] / "deploy"
STORES = {"tracking": "TrackingStore", "fast_users": "FastUserStore"}
INSTALLED = version("mlflow")
# The program takes any client of MLflow's; the server's environment, which has the locked one, is asked by
# `tests/contract/test_stores.py`.
needs_pinned = pytest.mark.skipif(
    INSTALLED != pinned.MLFLOW, reason=f"MLflow {INSTALLED} is installed, not {pinned.MLFLOW}"
)


def locked() -> str:
    """The server's version of MLflow."""
    found = re.search(r"^mlflow==(\S+)", (SERVER / "requirements.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


def overridden() -> dict[str, list[str]]:
    """The methods of MLflow's that our stores replace, by the file of MLflow's, below its package."""
    found: dict[str, list[str]] = {}
    for module, kind in STORES.items():
        own: Any = getattr(importlib.import_module(f"provision_server.stores.{module}"), kind)
        for name in vars(own):
            theirs = [
                base for base in own.__mro__ if base.__module__.startswith("mlflow.") and name in vars(base)
            ]
            if callable(getattr(own, name)) and theirs:
                file = Path(inspect.getfile(theirs[0])).relative_to(mlflow_package()).as_posix()
                found.setdefault(file, []).append(f"{kind}.{name}")
    return found


def new_pins(files: dict[str, str]) -> str:
    """The constants of `stores/pinned.py` for the installed MLflow."""
    lines = [f'    "{file}": "{digest}",' for file, digest in sorted(files.items()) if digest]
    revisions = f'REVISIONS = {{TRACKING: "{head(TRACKING)}", AUTH: "{head(AUTH)}"}}'
    return "\n".join([f'MLFLOW = "{INSTALLED}"', revisions, "FILES = {", *lines, "}"])


def what_to_do(pins: dict[str, str], methods: dict[str, list[str]]) -> str:
    """What to look at before other pins are written, and these pins."""
    now = {file: pinned.sha256_of(file) for file in {*pins, *methods}}
    changed = [file for file in sorted(pins) if now[file] != pins[file]]
    own = [f"   {file}: {', '.join(names)}" for file, names in sorted(methods.items())]
    unpinned = sorted({*methods} - {*pins})
    return "\n".join(
        [
            f"The server's own tracking store was written against MLflow {pinned.MLFLOW}, and the server has "
            f"{locked()}. Until that is one version, with these files, MLflow's own store answers all calls.",
            f"1. Files that changed: {', '.join(changed) or 'none'}. Compare them between the versions.",
            "2. Methods that our stores have in place of theirs (deploy/provision_server/stores):",
            *own,
            *(f"   {file} has some of them, and is not pinned" for file in unpinned),
            "3. Change these as MLflow's changed. Run tests/server/test_same_store.py, test_user_store.py,",
            "   which compare both.",
            "4. Write into deploy/provision_server/stores/pinned.py:",
            new_pins(now),
        ]
    )


def test_the_pins_are_those_of_the_locked_mlflow() -> None:
    same = locked() == pinned.MLFLOW
    if INSTALLED == pinned.MLFLOW:
        same &= all(pinned.sha256_of(file) == digest for file, digest in pinned.FILES.items())
        same &= {schema: head(schema) for schema in pinned.REVISIONS} == pinned.REVISIONS
    if not same and locked() != INSTALLED:
        pytest.fail(
            f"The server has MLflow {locked()}, and its own tracking store was written against "
            f"{pinned.MLFLOW}. Install mlflow=={locked()} beside these tests, which have {INSTALLED}; "
            "then they name the files that changed, and what to do.",
            pytrace=False,
        )
    if not same:
        pytest.fail(what_to_do(pinned.FILES, overridden()), pytrace=False)


@needs_pinned
def test_every_overridden_method_is_in_a_pinned_file() -> None:
    if not {*overridden()} <= {*pinned.FILES}:
        pytest.fail(what_to_do(pinned.FILES, overridden()), pytrace=False)


@needs_pinned
def test_new_pins_are_told_with_what_to_look_at() -> None:
    changed, gone = "store/tracking/sqlalchemy_store.py", "entities/gone.py"
    text = what_to_do(
        pinned.FILES | {changed: "0" * 64, gone: "1" * 64}, {changed: ["log_batch"], "a/b.py": ["get_run"]}
    )
    assert f"Files that changed: {gone}, {changed}." in text
    assert f"   {changed}: log_batch\n" in text
    assert "a/b.py has some of them, and is not pinned" in text
    assert "tests/server/test_same_store.py, test_user_store.py" in text
    written: dict[str, Any] = {"TRACKING": TRACKING, "AUTH": AUTH}
    exec(text[text.index("MLFLOW = ") :], written)  # noqa: S102
    assert written["MLFLOW"] == pinned.MLFLOW
    assert written["REVISIONS"] == pinned.REVISIONS
    assert written["FILES"] == pinned.FILES


ASK = """
import sys
from provision_server.settings import Fault, read_settings
from provision_server.stores.pinned import reason_against
try:
    print(reason_against(read_settings()))
except Fault as fault:
    print("fault:", fault)
assert "mlflow" not in sys.modules
"""


class Server:
    """A server's environment with an MLflow of its own: copies of what is looked at."""

    def __init__(self, folder: Path) -> None:
        self.packages, self.secrets = folder / "packages", folder / "secrets"
        installed, copy = mlflow_package(), self.packages / "mlflow"
        for schema in (TRACKING, AUTH):
            shutil.copytree(installed / schema.migrations, copy / schema.migrations)
        for file in ("__init__.py", *pinned.FILES):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(installed / file, copy / file)
        self.install(INSTALLED)
        self.secrets.mkdir()
        (self.secrets / "backend_store_password").write_text("x")
        self.nowhere = f"postgresql+psycopg2://a@/b?host={folder}"

    def install(self, release: str) -> None:
        for old in self.packages.glob("*.dist-info"):
            shutil.rmtree(old)
        about = self.packages / f"mlflow-{release}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mlflow\nVersion: {release}\n")

    def reason(self, **variables: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, (self.packages, SERVER))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PROVISION_SECRETS": str(self.secrets),
            "PROVISION_BACKEND_STORE": self.nowhere,
            "PROVISION_AUTH_STORE": self.nowhere,
            "PROVISION_ARTIFACTS_DESTINATION": str(self.packages),
            "PROVISION_DEADLINE": "0",
        }
        argv = [sys.executable, "-c", ASK]
        done = subprocess.run(argv, env=environment | variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@needs_pinned
def test_without_a_reason_the_database_is_asked_last(server: Server) -> None:
    assert server.reason().startswith("fault: no connection as a in b")


@needs_pinned
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"PROVISION_FAST": "false"}, "server.fast is false"),
        ({"MLFLOW_ENABLE_WORKSPACES": "True"}, "workspaces are on (MLFLOW_ENABLE_WORKSPACES)"),
        (
            {"_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE": "postgresql://a@b/c"},
            "a read replica is set (_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE)",
        ),
        (
            {"PROVISION_BACKEND_STORE": "postgresql+psycopg://a@b/c"},
            "the tracking database is reached by postgresql+psycopg, not postgresql+psycopg2",
        ),
        (
            {"PROVISION_AUTH": "basic", "PROVISION_AUTH_STORE": "postgresql://a@b/c"},
            "the login database is reached by postgresql, not postgresql+psycopg2",
        ),
    ],
)
def test_what_the_environment_says_against_it(server: Server, variables: dict[str, str], reason: str) -> None:
    assert server.reason(**variables) == reason


@needs_pinned
def test_workspaces_that_are_off_are_no_reason(server: Server) -> None:
    assert server.reason(MLFLOW_ENABLE_WORKSPACES="false", PROVISION_FAST="true").startswith("fault: no conn")


@needs_pinned
def test_another_version_of_mlflow(server: Server) -> None:
    server.install("3.18.0")
    assert server.reason() == f"MLflow is 3.18.0, and it was written against {pinned.MLFLOW}"


@needs_pinned
def test_files_of_mlflow_that_somebody_changed(server: Server) -> None:
    differ = f"MLflow's files differ from those of {pinned.MLFLOW}: "
    with (server.packages / "mlflow/store/tracking/sqlalchemy_store.py").open("a") as file:
        file.write("\n")
    assert server.reason() == f"{differ}store/tracking/sqlalchemy_store.py"
    shutil.rmtree(server.packages / "mlflow/entities")
    assert server.reason().startswith(f"{differ}entities/dataset.py, entities/dataset_input.py, ")
    assert re.search(r"\.py and \d+ more$", server.reason())


@needs_pinned
@pytest.mark.parametrize(("schema", "login"), [(TRACKING, "none"), (AUTH, "basic")])
def test_an_mlflow_of_another_schema(server: Server, schema: Any, login: str) -> None:
    (server.packages / "mlflow" / schema.migrations / "next.py").write_text(
        f'revision = "aaaaaaaaaaaa"\ndown_revision = "{pinned.REVISIONS[schema]}"\n'
    )
    reason = f"MLflow's {schema.name} schema is aaaaaaaaaaaa, not {pinned.REVISIONS[schema]}"
    assert server.reason(PROVISION_AUTH=login) == reason
    if schema is AUTH:
        assert server.reason().startswith("fault: no connection"), "nobody logs in, so it is not used"


def test_a_stack_of_an_older_release_has_no_such_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_BACKEND_STORE", "postgresql+psycopg2://a@/b")
    monkeypatch.setenv("PROVISION_ARTIFACTS_DESTINATION", "/a")
    assert read_settings().fast
    monkeypatch.setenv("PROVISION_FAST", "false")
    assert not read_settings().fast
