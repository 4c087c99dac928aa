"""Rendered files by case: what they are is read in the diff of tests/golden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provisioner.model.proxy import default_port
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import build_stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.runtimes.base import Instance
from provisioner.runtimes.docker.runtime import DockerRuntime
from provisioner.system.host import LocalHost
from tests.support.certificates import Authority, write_pair

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden"
CASES = {
    "local-artifacts": "artifact_store:\n  kind: local\n",
    "stores-of-the-user": (
        "backend_store:\n  kind: external\n  uri: postgresql+psycopg2://team@db.example.com:5432/mlflow\n"
        "artifact_store:\n  kind: s3\n  bucket: team\n  prefix: ml/flow\n"
        "  endpoint_url: https://s3.example.com\n  region: eu-west-1\n"
    ),
    "login-and-public-url": (
        "server:\n  auth: basic\n  port: 8443\n  public_url: https://mlflow.example.com\n  workers: 3\n"
    ),
    "registry-and-limits": (
        "name: team\nimages:\n  registry: registry.example.com/mirror\n"
        "  server: registry.example.com/own/mlflow:1\n"
        "resources:\n  mlflow:\n    memory: 4g\n    cpus: 1.5\n"
    ),
    "genai": "server:\n  genai: true\n",
    "tls-internal-address": (
        "server:\n  auth: basic\n  bind: 0.0.0.0\n  tls: internal\n"
        "  public_url: https://192.0.2.7:8443\n  http_port: 8080\n"
        "artifact_store:\n  kind: local\n"
    ),
    "tls-acme": (
        "server:\n  auth: basic\n  bind: 0.0.0.0\n  tls: acme\n  public_url: https://mlflow.example.com\n"
        "  acme_ca: https://ca.example.com/acme/directory\n  acme_ca_file: root.pem\n"
        "  acme_email: team@example.com\n"
    ),
    "tls-files": (
        "server:\n  auth: basic\n  bind: '::'\n  tls: files\n  public_url: https://mlflow.example.com\n"
        "  tls_certificate: cert.pem\n  tls_key: key.pem\n"
    ),
    "tls-external": (
        "server:\n  auth: basic\n  bind: 192.0.2.7\n  tls: external\n"
        "  public_url: https://mlflow.example.com/team/mlflow\n"
        "  trusted_proxies: [192.0.2.0/28, '2001:db8::1']\n"
    ),
}
OWN = ("docker-compose.yml", "deploy/caddy/Caddyfile")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack's directory with certificates of the user's."""
    path = tmp_path_factory.mktemp("stack")
    authority = Authority()
    write_pair(path, *authority.issue("mlflow.example.com"))
    (path / "root.pem").write_bytes(authority.root)
    return path


def rendered(text: str, directory: Path, kind: RuntimeKind = "docker") -> dict[str, str]:
    """A stack's own files, without those that exist once, in the repository, and without certificates."""
    settings = parse_settings(text)
    port = settings.server.port or default_port(settings.server)
    files = DockerRuntime(
        build_stack(settings, kind), Instance(directory, "mlflow-abc123", port), LocalHost()
    ).files()
    own = {
        path: file.content.decode()
        for path, file in files.items()
        if not (ROOT / path).exists() or path in OWN
    }
    same = {
        path
        for path, content in own.items()
        if (ROOT / path).exists() and content == (ROOT / path).read_text()
    }
    own = {path: content for path, content in own.items() if path not in same and not path.endswith(".crt")}
    if settings.server.tls:
        # A hash of the certificates too, which are new each time.
        hashed = r"(provision\.files: |/\.well-known/provision/)'?[0-9a-f]{16}'?"
        own = {path: re.sub(hashed, r"\g<1>HASH", content) for path, content in own.items()}
    # The tag is a hash of what the image is built from, so it changes with every edit there.
    return {
        path: re.sub(r"(provision-mlflow:[0-9.]+-)[0-9a-f]{12}", r"\g<1>HASH", content)
        for path, content in own.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_rendered_files_are_as_reviewed(case: str, directory: Path, request: pytest.FixtureRequest) -> None:
    folder = GOLDEN / case
    for path, content in rendered(CASES[case], directory).items():
        file = folder / path.lstrip(".")
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        assert file.read_text() == content


def test_the_repository_is_the_default_stack_byte_for_byte() -> None:
    stack = build_stack(parse_settings(""), "docker")
    files = DockerRuntime(stack, Instance(ROOT, "mlflow-abc123", 5000), LocalHost()).files()
    assert {
        path for path, file in files.items() if path != ".env" and (ROOT / path).read_bytes() != file.content
    } == set()


def test_the_same_settings_give_the_same_bytes(directory: Path) -> None:
    assert rendered(CASES["tls-files"], directory) == rendered(CASES["tls-files"], directory)
