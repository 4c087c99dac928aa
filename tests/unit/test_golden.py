"""Rendered files by case: what they are is read in the diff of tests/golden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provisioner.model.settings import parse_settings
from provisioner.model.stack import RuntimeKind, build_stack
from provisioner.runtimes.base import Place
from provisioner.runtimes.docker import DockerRuntime
from provisioner.system.host import LocalHost

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests/golden"
CASES = {
    "local-artifacts": "artifact_store:\n  kind: local\n",
    "stores-of-the-user": (
        "backend_store:\n  kind: external\n  uri: postgresql+psycopg2://team@db.example.com:5432/mlflow\n"
        "artifact_store:\n  kind: s3\n  bucket: team\n  prefix: ml/flow\n  endpoint_url: https://s3.example.com\n  region: eu-west-1\n"
    ),
    "login-and-public-url": "server:\n  auth: basic\n  port: 8443\n  public_url: https://mlflow.example.com\n  workers: 3\n",
    "registry-and-limits": (
        "name: team\nimages:\n  registry: registry.example.com/mirror\n  server: registry.example.com/own/mlflow:1\n"
        "resources:\n  mlflow:\n    memory: 4g\n    cpus: 1.5\n"
    ),
    "genai": "server:\n  genai: true\n",
}


def rendered(text: str, kind: RuntimeKind = "docker") -> dict[str, str]:
    """The files of a stack of its own; those that exist once, in the repository, left out."""
    stack = build_stack(parse_settings(text), kind)
    files = DockerRuntime(stack, Place(Path("/stack"), "mlflow-abc123", 5000), LocalHost()).files()
    own = {path: file.content.decode() for path, file in files.items() if not (ROOT / path).exists() or path == "docker-compose.yml"}
    # The tag is a hash of what the image is built from, so it changes with every edit there.
    return {path: re.sub(r"(provision-mlflow:[0-9.]+-)[0-9a-f]{12}", r"\g<1>HASH", content) for path, content in own.items()}


@pytest.mark.parametrize("case", CASES)
def test_rendered_files_are_as_reviewed(case: str, request: pytest.FixtureRequest) -> None:
    folder = GOLDEN / case
    for path, content in rendered(CASES[case]).items():
        file = folder / path.lstrip(".")
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        assert file.read_text() == content


def test_the_repository_is_the_default_stack_byte_for_byte() -> None:
    stack = build_stack(parse_settings(""), "docker")
    files = DockerRuntime(stack, Place(ROOT, "mlflow-abc123", 5000), LocalHost()).files()
    assert {path for path, file in files.items() if path != ".env" and (ROOT / path).read_bytes() != file.content} == set()


def test_the_same_settings_give_the_same_bytes() -> None:
    assert rendered(CASES["login-and-public-url"]) == rendered(CASES["login-and-public-url"])
