"""A stack below a path of another's server: Debian's nginx, which hands the path on or takes it away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.installed import Program
from tests.support.kedro_env import kedro_environment, new_project
from tests.support.ports import free_port
from tests.support.tls_client import Client

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PATH = "/team/mlflow"
CONFIGURATION = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  server {{ listen 127.0.0.1:{keeps}; location {path}/ {{ proxy_pass http://127.0.0.1:{port}; }} \
location / {{ return 404; }} }}
  server {{ listen 127.0.0.1:{strips}; location {path}/ {{ proxy_pass http://127.0.0.1:{port}/; }} \
location / {{ return 404; }} }}
  server {{
    listen 127.0.0.1:{secure} ssl;
    ssl_certificate {folder}/tls.crt;
    ssl_certificate_key {folder}/tls.key;
    location {path}/ {{ proxy_pass http://127.0.0.1:{port}; }}
    location / {{ return 404; }}
  }}
}}
"""
LOG_A_RUN = """\
import sys

import mlflow

mlflow.set_experiment(sys.argv[1])
with mlflow.start_run(run_name="shown run") as run:
    mlflow.log_metric("score", 0.5)
    mlflow.log_text("a note", "folder/note.txt")
    mlflow.MlflowClient().create_registered_model(f"model {sys.argv[1]}")
print(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/folder/note.txt"))
"""
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")


@dataclass(frozen=True)
class Ports:
    """Where the stack's proxy listens, and nginx: path handed on, taken away, and handed on over TLS."""

    port: int
    keeps: int
    strips: int
    secure: int


@contextmanager
def nginx(folder: Path, ports: Ports, certificate: tuple[bytes, bytes]) -> Iterator[None]:
    (folder / "tls.crt").write_bytes(certificate[0])
    (folder / "tls.key").write_bytes(certificate[1])
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, path=PATH, **vars(ports)))
    # Its workers are another user, who must get to what they buffer there.
    for path in (folder, *list(folder.parents)[:2]):
        path.chmod(0o755)
    with subprocess.Popen([str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports(free_port(), free_port(), free_port(), free_port())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("A company")


@pytest.fixture(scope="module")
def settings(ports: Ports) -> str:
    return (
        f"server:\n  port: {ports.port}\n  auth: basic\n  public_url: http://localhost:{ports.keeps}{PATH}\n"
    )


@pytest.fixture(scope="module")
def stack(
    installed: Path,
    stacks: Path,
    ports: Ports,
    settings: str,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Program]:
    program = Program(installed, stacks / "prefix" / "stack", "embedded")
    with (
        nginx(tmp_path_factory.mktemp("nginx"), ports, authority.issue("localhost")),
        program.running(settings),
    ):
        yield program


@pytest.fixture(scope="module")
def said(stack: Program, ports: Ports) -> dict[str, str]:
    """What MLflow's client said that logged a run, by the address that it was given."""
    login = {
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": stack.secret("mlflow_admin_password"),
    }
    found = {}
    for port in (ports.keeps, ports.strips):
        uri = f"http://localhost:{port}{PATH}"
        env = {**stack.env, **login, "MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        done = subprocess.run(
            [sys.executable, "-c", LOG_A_RUN, f"by {port}"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found[uri] = done.stdout
    return found


def test_a_client_logs_and_reads_below_the_path(said: dict[str, str]) -> None:
    for uri, text in said.items():
        assert text.splitlines()[-1] == "a note"
        # The address that a person is told.
        assert f"{uri}/#/experiments/" in text


def showing(words: str) -> Callable[[str], bool]:
    return lambda text: words in text


def test_the_page_asks_for_nothing_beside_the_path(
    stack: Program, said: dict[str, str], browser: Browser
) -> None:
    browser.sign_in("admin", stack.secret("mlflow_admin_password"))
    for uri in said:
        name = f"by {urlsplit(uri).port}"
        for page, shown in (
            ("", name),
            ("#/experiments", name),
            ("#/models", f"model {name}"),
            ("#/settings", "General"),
        ):
            visit = browser.visit(f"{uri}/{page}", showing(shown))
            asked = [request for request in visit.requests.values() if request.url.startswith("http")]
            assert [
                request.url
                for request in asked
                if not request.url.startswith(f"{uri}/") or request.status >= 400
            ] == []
            assert visit.complained(uri) == []


def test_the_path_without_its_slash_leads_to_the_page(stack: Program, ports: Ports) -> None:
    login = ("admin", stack.secret("mlflow_admin_password"))
    door = Client(ports.port, "localhost", tls=False, login=login)
    assert (door("GET", PATH).status, door("GET", PATH).headers["location"]) == (308, f"{PATH}/")
    assert {
        path: door("GET", path).status
        for path in (f"{PATH}/", "/", f"{PATH}/version", "/version", f"{PATH}x/version")
    } == {
        f"{PATH}/": 200,
        "/": 200,
        f"{PATH}/version": 200,
        "/version": 200,
        f"{PATH}x/version": 404,
    }
    # What is refused by its path is so below it.
    assert door("GET", f"{PATH}/%00").status == 400
    assert (
        Client(ports.port, "localhost", tls=False)(
            "GET", f"{PATH}/api/2.0/mlflow/experiments/get?experiment_id=0"
        ).status
        == 401
    )


def test_a_project_is_linked_to_the_whole_address(stack: Program, ports: Ports, tmp_path: Path) -> None:
    project = new_project(tmp_path)
    linked = stack("link", str(project), "--python", str(kedro_environment() / "bin/python"))
    assert (linked.code, linked.data["proof"]["state"]) == (0, "ok"), linked.document
    assert linked.data["tracking_uri"] == f"http://localhost:{ports.keeps}{PATH}"
    assert stack("doctor", str(project)).code == 0


def test_what_is_before_us_may_end_tls(
    stack: Program, ports: Ports, settings: str, authority: Authority, tmp_path: Path
) -> None:
    uri = f"https://localhost:{ports.secure}{PATH}"
    tls = f"  tls: external\n  trusted_proxies: [127.0.0.1]\n  public_url: {uri}\n"
    stack.settings(f"server:\n  port: {ports.port}\n  auth: basic\n{tls}")
    try:
        assert stack.up("--no-link").data["tracking_uri"] == uri
        ca = tmp_path / "ca.pem"
        ca.write_bytes(authority.root)
        client = Client(
            ports.secure, "localhost", ca=ca, login=("admin", stack.secret("mlflow_admin_password"))
        )
        # As the page sends it: a browser's origin has no path.
        origin = f"https://localhost:{ports.secure}"
        found = client(
            "POST", f"{PATH}/api/2.0/mlflow/experiments/search", {"max_results": 10}, Origin=origin
        )
        assert found.status == 200
        assert client("GET", f"{PATH}/static-files/favicon.ico").status == 200
    finally:
        stack.settings(settings)
        stack.up("--no-link")
