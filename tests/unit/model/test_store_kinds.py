"""A new kind of store is a class of settings, a file here and one in the server: nothing else knows it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import pytest
import yaml

from provision_server.settings import Fault, Settings, read_settings
from provision_server.stores import artifacts
from provisioner.errors import PreflightError, SettingsError
from provisioner.model.addresses import IN_CONTAINERS, Addresses
from provisioner.model.environment import service_environment
from provisioner.model.secret import SecretSpec
from provisioner.model.settings import StoreSettings
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import Stack, build_stack
from provisioner.model.stores import table
from provisioner.model.stores.base import SERVERS, ArtifactStore, RuntimeKind
from provisioner.runtimes.base import Instance, check_stores
from provisioner.runtimes.docker.runtime import DockerRuntime
from provisioner.system.host import LocalHost

PROGRAM = Path(__file__).parents[3] / "provisioner"
TEXT = "artifact_store:\n  kind: dummy\n  container: team\n"


class DummySettings(StoreSettings):
    """The keys of the kind."""

    kind: Literal["dummy"]
    container: str


class Dummy(ArtifactStore):
    """A store of the user's, elsewhere, that Docker alone can have."""

    kind: ClassVar[str] = "dummy"
    own_settings: ClassVar[type[StoreSettings] | None] = DummySettings
    needs_route: ClassVar[bool] = True

    @property
    def location(self) -> str:
        return self.destination(IN_CONTAINERS)

    @property
    def theirs(self) -> str:
        return f"the container, which is yours: {self.location}"

    def secrets(self) -> tuple[SecretSpec, ...]:
        return (SecretSpec("dummy_key", "the key to the container", "DUMMY_KEY", SERVERS),)

    def destination(self, addresses: Addresses) -> str:
        del addresses
        store: Any = self.settings.artifact_store
        return f"dummy://{store.container}"

    def environment(self, addresses: Addresses) -> dict[str, str]:
        del addresses
        return {"DUMMY_REGION": "nowhere"}

    def unavailable(self, runtime: RuntimeKind) -> PreflightError | None:
        return None if runtime == "docker" else PreflightError("the dummy store needs Docker")


@pytest.fixture(autouse=True)
def _dummy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.ARTIFACT_STORES, "dummy", Dummy)


def stack() -> Stack:
    return build_stack(parse_settings(TEXT), "docker")


def test_its_stack_has_its_secret_its_environment_and_a_way_out() -> None:
    made = stack()
    assert (made.artifacts.kind, made.location, made.external) == ("dummy", "postgres and dummy://team", True)
    assert [spec.name for spec in made.secrets if "bootstrap" in spec.services and spec.from_env] == [
        "dummy_key"
    ]
    assert [service.name for service in made.services] == ["postgres", "bootstrap", "mlflow", "proxy"]
    for service in SERVERS:
        environment = service_environment(made, service, IN_CONTAINERS)
        assert (environment["PROVISION_ARTIFACTS_DESTINATION"], environment["DUMMY_REGION"]) == (
            "dummy://team",
            "nowhere",
        )


def test_its_files_are_rendered(tmp_path: Path) -> None:
    files = DockerRuntime(stack(), Instance(tmp_path, "mlflow-abc123", 5000), LocalHost()).files()
    server = yaml.safe_load(files["docker-compose.yml"].content)["services"]["mlflow"]
    assert "dummy_key" in server["secrets"]
    assert "edge" in server["networks"]
    assert server["environment"]["PROVISION_ARTIFACTS_DESTINATION"] == "dummy://team"


def test_a_runtime_that_cannot_have_it_is_told() -> None:
    with pytest.raises(PreflightError, match="the dummy store needs Docker"):
        check_stores(build_stack(parse_settings(TEXT), "embedded"))
    check_stores(stack())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("artifact_store:\n  kind: dummy\n", "provision.yml:1 artifact_store.container: must be given"),
        (
            "artifact_store:\n  kind: dummy\n  container: 5\n",
            "provision.yml:3 artifact_store.container: should be a valid string, not 5",
        ),
        (f"{TEXT}  bucket: x\n", "provision.yml:4 artifact_store.bucket: unknown key"),
    ],
)
def test_a_fault_in_its_keys_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text)
    (fault,) = caught.value.all()
    assert fault.what.startswith(said)


@pytest.fixture
def in_the_server(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a server with that store, and the store's file in the server."""

    class Store(artifacts.ArtifactStore):
        def size(self, path: str) -> int | None:
            return len(path)

        def usage(self) -> tuple[int, int]:
            return 1, 2

    module = ModuleType("provision_server.stores.artifacts_dummy")
    module.Store = Store  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name, value in service_environment(stack(), "mlflow", IN_CONTAINERS).items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_the_server_finds_it_by_the_scheme(in_the_server: Settings) -> None:
    store = artifacts.artifact_store(in_the_server)
    assert (store.size("four"), store.usage(), store.free()) == (4, (1, 2), None)
    store.check()


def test_the_server_says_which_scheme_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_BACKEND_STORE", "postgresql+psycopg2://a@/b")
    monkeypatch.setenv("PROVISION_ARTIFACTS_DESTINATION", "another://team")
    with pytest.raises(Fault, match="knows no artifact store another://"):
        artifacts.artifact_store(read_settings())


def test_no_other_file_asks_which_kind_a_store_is() -> None:
    kinds = {*table.BACKEND_STORES, *table.ARTIFACT_STORES}
    asking = {
        path.relative_to(PROGRAM).as_posix()
        for path in PROGRAM.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and any(
            isinstance(part, ast.Attribute) and part.attr in {"kind", "artifacts"}
            for part in (node.left, *node.comparators)
        )
        and any(
            isinstance(part, ast.Constant) and part.value in kinds for part in (node.left, *node.comparators)
        )
    }
    assert asking == {"model/settings.py"}, "its own keys are checked there"
