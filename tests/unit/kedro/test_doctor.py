"""What the doctor sees of servers, without a real one: a small HTTP server that answers as MLflow does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from provisioner.actions.doctor import diagnose, what_helps
from provisioner.kedro.diagnosis import PYTHON, client_remarks, project_report
from provisioner.kedro.experiment import UNKNOWN
from provisioner.kedro.record import LinkRecord, record_folder, save_record
from provisioner.kedro.server_report import server_report
from provisioner.model.state import State
from provisioner.output import Recorder
from provisioner.system.http import Rest, RestError
from tests.support.link_project import BASE, forget_variables, make_project

LOGIN = "Basic " + base64.b64encode(b"admin:pw").decode()
NO_KEDRO = Path("/nonexistent/python")


class _Handler(BaseHTTPRequestHandler):
    """Two pages of experiments, one of which bypasses the server; a login where the server wants one."""

    login = ""

    def do_GET(self) -> None:
        known = self.path == "/health"
        self._answer(200 if known else 404, b"OK" if known else b"no such page")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(
            200, json.dumps({"path": self.path, "size": len(body), "host": self.headers["Host"]}).encode()
        )

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.login and self.headers.get("Authorization") != self.login:
            self._answer(
                401, json.dumps({"error_code": "UNAUTHENTICATED", "message": "who are you?"}).encode()
            )
            return
        first = {"experiment_id": "0", "name": "Default", "artifact_location": "mlflow-artifacts:/0"}
        second = {"experiment_id": "7", "name": "old", "artifact_location": "s3://bucket/7"}
        page = (
            {"experiments": [second]}
            if query.get("page_token") == "next"
            else {"experiments": [first], "next_page_token": "next"}
        )
        self._answer(200, json.dumps(page).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture(params=["", LOGIN], ids=["open", "login"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    handler = type("Handler", (_Handler,), {"login": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}", bool(request.param)
        served.shutdown()
        thread.join()


def test_a_server_is_seen_with_the_experiments_that_bypass_it(server: tuple[str, bool]) -> None:
    uri, login = server
    report = server_report(uri, UNKNOWN, *(("admin", "pw") if login else ("", "")))
    assert (report.answers, report.api, report.experiments) == (True, True, 2)
    assert [(found.name, found.artifact_location) for found in report.bypassing] == [("old", "s3://bucket/7")]
    assert report.ok
    assert report.hint


def test_a_refused_login_is_said_with_the_way_out(server: tuple[str, bool]) -> None:
    uri, login = server
    report = server_report(uri, UNKNOWN, "admin", "wrong")
    assert report.api is not login
    if login:
        assert "401 who are you?" in report.seen
        assert "provision link" in report.hint


def test_a_server_that_is_not_there_is_said() -> None:
    report = server_report("http://127.0.0.1:9", UNKNOWN)
    assert not report.answers
    assert "Connection refused" in report.seen


def test_a_proxy_is_named_and_not_taken(server: tuple[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    report = server_report(server[0], UNKNOWN, "admin", "pw")
    assert report.api
    assert "HTTP_PROXY" in report.proxy
    assert not report.ok


def test_the_client_sends_what_it_is_told_and_names_failures(server: tuple[str, bool]) -> None:
    uri, login = server
    rest = Rest(uri, host="mlflow.example.org", username="admin", password="pw")
    assert rest.get_bytes("/health") == b"OK"
    assert rest.call("PUT", "/a b/ä", {"x": 1}) == {
        "path": "/a%20b/%C3%A4",
        "size": 8,
        "host": "mlflow.example.org",
    }
    with pytest.raises(RestError) as caught:
        rest.get_bytes("/nothing")
    assert (caught.value.status, caught.value.message) == (404, "no such page")
    if login:
        with pytest.raises(RestError, match="401"):
            rest.anonymous().call("POST", "/api/2.0/mlflow/experiments/search", {})


def test_each_environment_is_reported_with_its_reason(
    server: tuple[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KEDRO_ENV", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MY_PASSWORD", "pw")
    uri, _ = server
    files = {
        "pyproject.toml": (
            '[tool.kedro]\npackage_name = "demo"\nproject_name = "demo"\nkedro_init_version = "1.0.0"\n'
        ),
        "conf/base/mlflow.yml": f"server:\n  mlflow_tracking_uri: {uri}\n  credentials: entry\n",
        "conf/local/credentials.yml": (
            "entry:\n  MLFLOW_TRACKING_USERNAME: admin\n  MLFLOW_TRACKING_PASSWORD: ${oc.env:MY_PASSWORD}\n"
        ),
        "conf/prod/mlflow.yml": "server: {}\n",
        "conf/twice/mlflow.yml": "server: {}\nserver: {}\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    report = project_report(tmp_path, what_helps, python=NO_KEDRO)
    local, prod, twice = report.environments
    assert (local.env, local.default, local.uri) == ("local", True, uri)
    assert local.why == "conf/base/mlflow.yml, line 2"
    assert local.server is not None
    assert local.server.api
    assert (prod.uri, prod.origin) == ("mlruns", "default")
    assert "no tracking server" in prod.problem
    assert "there twice" in twice.problem
    assert report.interpreter == "/nonexistent/python has no Kedro"


HOME_LOGIN = "[mlflow]\nmlflow_tracking_username = ben\nmlflow_tracking_password = wrong\n"
FILE = "conf/local/credentials.yml"


@pytest.mark.parametrize("server", [LOGIN], indirect=True)
@pytest.mark.parametrize(
    ("entry", "shell", "home", "said", "fix"),
    [
        ("USERNAME: ben, PASSWORD: wrong", {}, "", f"login ben, whose password is in {FILE}", "`{link}`"),
        ("USERNAME: ben", {}, "", "login ben, which has no password", "`{link}`"),
        (
            "USERNAME: ben, PASSWORD: '${oc.env:MINE}'",
            {"MINE": "wrong"},
            "",
            "login ben, whose password is in the variable MINE",
            "set MINE to the password of ben, or have it in the project: `{link}`",
        ),
        (
            "",
            {"MLFLOW_TRACKING_USERNAME": "ben", "MLFLOW_TRACKING_PASSWORD": "wrong"},
            "",
            "login ben, whose password is in the variable MLFLOW_TRACKING_PASSWORD",
            "set MLFLOW_TRACKING_PASSWORD to the password of ben, or have it in the project: `{link}`",
        ),
        (
            "",
            {},
            HOME_LOGIN,
            "login ben, whose password is in {home}/.mlflow/credentials",
            "`{link} --login file`",
        ),
        (
            "USERNAME: ben, PASSWORD: wrong, SERVER_CERT_PATH: /c a.crt",
            {},
            "",
            f"login ben, whose password is in {FILE}",
            "`{link} --ca-file '/c a.crt'`",
        ),
    ],
)
def test_a_refused_login_is_named_with_its_place_and_its_own_way_out(
    server: tuple[str, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry: str,
    shell: dict[str, str],
    home: str,
    said: str,
    fix: str,
) -> None:
    uri, project = server[0], login_project(tmp_path, monkeypatch, server[0], entry)
    for name, value in shell.items():
        monkeypatch.setenv(name, value)
    if home:
        (tmp_path / ".mlflow").mkdir()
        (tmp_path / ".mlflow/credentials").write_text(home)
    link_to(project, uri, stack="/s")
    recorder = Recorder()
    result = diagnose(project, NO_KEDRO, tmp_path / "none", recorder)
    error = result.errors[-1]
    assert f"the server refuses the {said}; ".format(home=tmp_path) in error.why
    assert "401 who are you?" in error.why
    assert error.hint == fix.format(link=f"provision link --uri {uri} --user ben")
    assert "wrong" not in f"{result}{recorder.checks}{error.why}{error.hint}"


@pytest.mark.parametrize("server", [LOGIN], indirect=True)
@pytest.mark.parametrize(
    ("user", "stack", "said", "fix"),
    [
        ("admin", "/s", "refuses the login admin", "`provision link {project} --stack /s{env}`"),
        ("admin", "", "refuses the login admin", "`provision link --uri {uri} --user admin{env}`"),
        ("", "/s", "wants a login, and the run has none", "`provision link {project} --stack /s{env}`"),
        ("", "", "wants a login, and the run has none", "`provision link --uri {uri} --user NAME{env}`"),
        ("ben", "/s", "refuses the login ben", "`provision link --uri {uri} --user ben{env}`"),
    ],
)
def test_only_the_login_that_a_stack_keeps_is_written_by_its_link(
    server: tuple[str, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    stack: str,
    said: str,
    fix: str,
) -> None:
    entry = f"USERNAME: {user}, PASSWORD: wrong" if user else ""
    project = login_project(tmp_path, monkeypatch, server[0], entry)
    link_to(project, server[0], stack=stack)
    (project / "conf/prod").mkdir()
    (project / "conf/prod/credentials.yml").write_bytes((project / FILE).read_bytes())
    local, prod = project_report(project, what_helps, python=NO_KEDRO).environments
    for found, env in ((local, ""), (prod, " --env prod")):
        assert said in found.problem
        assert found.hint == fix.format(uri=server[0], project=project, env=env)
        assert found.server is not None
        assert found.server.refuses_login


def login_project(home: Path, monkeypatch: pytest.MonkeyPatch, uri: str, entry: str) -> Path:
    """A project that uses the URI, in an account with no other login than the entry's values."""
    monkeypatch.setenv("HOME", str(home))
    forget_variables(monkeypatch, home / "state")
    values = [f"  MLFLOW_TRACKING_{value}\n" for value in entry.split(", ") if value]
    address = f"server:\n  mlflow_tracking_uri: {uri}\n  credentials: entry\n"
    files = {BASE: address, FILE: "entry:\n" + "".join(values) if values else ""}
    return make_project(home / "demo", files).resolve()


def link_to(project: Path, uri: str, stack: str) -> None:
    """Record a link of the project, as one to a server that tells no identity."""
    save_record(record_folder(project), LinkRecord(str(project), stack, uri, "base", ()), [])


def test_a_project_without_kedro_is_said_once_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = login_project(tmp_path, monkeypatch, "http://127.0.0.1:9", "")
    recorder = Recorder()
    diagnose(project, NO_KEDRO, tmp_path / "none", recorder)
    assert recorder.notes["kedro"] == f"{NO_KEDRO} has no Kedro; {PYTHON}"


@pytest.mark.parametrize(
    ("client", "server", "said"),
    [
        ("3.17.2", "3.17.0", ""),
        ("2.7.1", "3.17.2", ""),
        ("", "3.17.2", ""),
        ("3.18.0", "", ""),
        # Measured against MLflow 3.17.2: runs and artifacts arrive, `registered-models/create` is 404.
        ("1.30.1", "3.17.2", "MLflow 1.30.1 there is too old to register models"),
        ("3.18.0rc1", "3.17.2", "MLflow 3.18.0rc1 there is newer than the server's 3.17.2"),
        ("3.9.0", "3.17.2", ""),
    ],
)
def test_a_client_that_does_not_fit_the_server_is_said(client: str, server: str, said: str) -> None:
    remarks = client_remarks(client, server)
    assert len(remarks) == bool(said)
    assert all(remark.startswith(said) for remark in remarks)


@pytest.mark.parametrize(
    ("port", "helps"),
    [
        (
            5000,
            "start the server that the project was linked to: `provision up --stack {stack}`, "
            "or link it anew: `{link}`",
        ),
        (5001, "its stack has another address now: `{link}`"),
    ],
)
def test_what_helps_a_project_whose_server_does_not_answer_names_its_own_stack(
    tmp_path: Path, port: int, helps: str
) -> None:
    stack = tmp_path / "my stack"
    stack.mkdir()
    (stack / "state.json").write_bytes(State(project="mlflow-1", runtime="embedded", port=port).text())
    link = f"provision link /p/shop --stack '{stack}'"
    assert what_helps(
        LinkRecord("/p/shop", str(stack), "http://127.0.0.1:5000", "local", ())
    ) == helps.format(stack=f"'{stack}'", link=link)


def test_nothing_is_said_of_a_stack_that_nobody_knows() -> None:
    assert what_helps(LinkRecord("/p/shop", "", "http://127.0.0.1:5000", "local", ())) == ""
