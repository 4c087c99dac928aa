"""TLS at the proxy, met by clients that verify: every way to get a certificate, on both runtimes."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from provisioner.runtimes.caddyfile import CADDYFILE, CERTIFICATE
from tests.e2e.tls_front import MLFLOW_CLIENT, PUBLIC, Front, files, kedro_project, run_with
from tests.support.certificates import Authority, write_pair
from tests.support.checks import eventually, running
from tests.support.go_programs import needed
from tests.support.installed import Program
from tests.support.pebble import pebble
from tests.support.ports import free_port, held
from tests.support.tls_client import Client, own_address

SEARCH = "/api/2.0/mlflow/experiments/search"
QUERY = {"max_results": 1}


@pytest.fixture(scope="module", params=["docker", "embedded"])
def front(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Front]:
    if request.param == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, stacks / f"tls-{request.param}" / "stack", request.param)
    try:
        yield Front(program, free_port(), free_port())
    finally:
        program.remove()


def test_a_path_before_all_others_is_served_over_tls(front: Front) -> None:
    address, path = own_address(), "/team/mlflow"
    uri = f"https://{address}:{front.port}{path}"
    front.needs(f"  bind: 0.0.0.0\n  tls: internal\n  public_url: {uri}\n")
    client = front.client(address, address=address)
    assert client("GET", f"{path}/").status == 200
    assert client("POST", f"{path}{SEARCH}", QUERY, Origin=f"https://{address}:{front.port}").status == 200
    assert client("GET", path).headers["location"] == f"{path}/"
    plain = Client(front.http_port, address, address=address, tls=False)
    assert plain("GET", f"{path}/version").headers["location"] == f"{uri}/version"
    login = {
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": front.program.secret("mlflow_admin_password"),
    }
    seen = run_with(
        front,
        ["python", "-c", MLFLOW_CLIENT],
        front.program.stack.parent,
        MLFLOW_TRACKING_URI=uri,
        MLFLOW_TRACKING_SERVER_CERT_PATH=str(front.ca),
        **login,
    )
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.splitlines()[-1] == "seen through TLS"


def test_an_address_gets_a_certificate_of_the_stacks_own_authority(front: Front) -> None:
    address = own_address()
    front.at_its_address()
    client = front.client(address, address=address)
    assert client("POST", SEARCH, QUERY).status == 200
    assert "strict-transport-security" not in client("GET", "/health").headers
    client.login = None
    assert client("POST", SEARCH, QUERY).status == 401
    client.ca = None
    with pytest.raises(ssl.SSLCertVerificationError):
        client("GET", "/health")


def test_a_linked_kedro_run_goes_over_tls_with_login(front: Front, tmp_path: Path) -> None:
    front.at_its_address()
    project = kedro_project(front, "linked")
    (project / "src/linked/pipeline_registry.py").write_text(
        "from kedro.pipeline import node, pipeline\n\n\n"
        "def register_pipelines():\n"
        "    return {'__default__': pipeline([node(lambda: 1, None, 'one', name='one')])}\n"
    )
    linked = front.program("link", str(project))
    assert linked.code == 0, front.program.report()
    assert linked.data["proof"]["state"] == "ok", linked.data
    done = run_with(front, ["kedro", "run"], project)
    assert done.returncode == 0, done.stdout + done.stderr
    client = front.client(own_address(), address=own_address())
    found = client("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=linked").json()[
        "experiment"
    ]
    runs = client("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [found["experiment_id"]]}).json()[
        "runs"
    ]
    assert [run["info"]["status"] for run in runs] == ["FINISHED"]
    assert front.access("/api/2.0/mlflow/runs/create")["user"] == "admin"
    doctor = front.program("doctor", str(project))
    assert doctor.code == 0, doctor.document
    assert {check["name"]: check["ok"] for check in doctor.data["checks"]}["certificate"]
    assert front.program("unlink", str(project)).code == 0
    assert not (project / "conf/local/mlflow.yml").exists()


def test_env_is_all_that_the_mlflow_client_needs(front: Front, tmp_path: Path) -> None:
    front.at_its_address()
    lines = front.program.text("env", "--stack", str(front.program.stack)).stdout
    (tmp_path / "client.py").write_text(MLFLOW_CLIENT)
    script = f"{lines}\nexec {front.program.environment / 'bin/python'} {tmp_path / 'client.py'}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=front.program.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "seen through TLS" in done.stdout


def test_a_name_of_the_network_gets_one_too_and_the_authority_stays(front: Front) -> None:
    front.at_its_address()
    before = front.ca.read_bytes()
    front.in_the_network()
    assert front.ca.read_bytes() == before
    client = front.client("mlflow.lan")
    assert client("POST", SEARCH, QUERY, Origin=f"https://mlflow.lan:{front.port}").status == 200
    assert "strict-transport-security" not in client("GET", "/health").headers
    assert client("GET", "/health", Host="evil.example.com").status == 421
    with pytest.raises(ssl.SSLError):
        front.client("evil.example.com")("GET", "/health")


def test_plain_http_is_only_a_way_to_https(front: Front) -> None:
    front.in_the_network()
    client = Client(front.http_port, "evil.example.com", tls=False)
    answer = client("GET", "/some/path?query=1")
    assert (answer.status, answer.headers["location"]) == (
        308,
        f"https://mlflow.lan:{front.port}/some/path?query=1",
    )
    assert Client(front.port, "mlflow.lan", tls=False)("POST", SEARCH, QUERY).status == 400


def test_older_tls_is_refused(front: Front) -> None:
    front.in_the_network()
    argv = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{front.port}",
        "-servername",
        "mlflow.lan",
        "-CAfile",
        str(front.ca),
    ]
    for version, fine in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        done = subprocess.run(
            [*argv, version, "-cipher", "ALL:@SECLEVEL=0"],
            input=b"",
            capture_output=True,
            check=False,
            timeout=20,
        )
        assert (b"Verify return code: 0 (ok)" in done.stdout and done.returncode == 0) is fine, (
            version,
            done.stdout[-300:],
            done.stderr[-300:],
        )


def test_the_access_log_has_who_and_what_and_no_secret(front: Front) -> None:
    front.in_the_network()
    password = front.program.secret("mlflow_admin_password")
    client = front.client("mlflow.lan")
    assert (
        client("GET", f"{SEARCH}?max_results=1&token=in-the-query", Cookie="session=in-a-cookie").status
        == 200
    )
    line = front.access(SEARCH)
    assert (line["method"], line["status"], line["user"]) == ("GET", 200, "admin")
    assert isinstance(line["seconds"], float)
    assert line["bytes"]
    assert line["time"]
    assert line["address"]
    wrong = front.client("mlflow.lan", login=("admin", "a-wrong-password"))
    assert wrong("GET", "/api/2.0/mlflow/runs/get?run_id=1").status == 401
    assert front.access("/api/2.0/mlflow/runs/get")["user"] is None
    written = front.program("logs", "proxy", "--lines", "1000").data["logs"]["proxy"]
    for secret in (password, "in-the-query", "in-a-cookie", "a-wrong-password", "Basic "):
        assert secret not in written
    assert "x-provision-user" not in client("GET", SEARCH + "?max_results=1").headers


def test_what_a_client_says_about_its_address_or_user_is_not_believed(front: Front) -> None:
    front.in_the_network()
    client = front.client("mlflow.lan", login=None)
    assert (
        client(
            "GET",
            "/api/2.0/mlflow/runs/get?run_id=2",
            X_Forwarded_For="203.0.113.9",
            X_Provision_User="mallory",
        ).status
        == 401
    )
    line = front.access("/api/2.0/mlflow/runs/get")
    assert line["address"] != "203.0.113.9"
    assert line["user"] is None


def test_certificate_files_of_the_users_with_hsts_for_a_public_name(front: Front) -> None:
    authority = front.with_files()
    client = front.client(PUBLIC)
    assert client("POST", SEARCH, QUERY).status == 200
    assert client("GET", "/health").headers["strict-transport-security"] == "max-age=31536000"
    assert front.ca.read_bytes() == authority.root
    before = front.program.services()
    front.serve(files(front))
    assert front.program.services() == before, "a second up restarts nothing"


@pytest.mark.parametrize(
    ("names", "lasts", "said"),
    [
        (
            ["other.example.com"],
            timedelta(days=1),
            "the certificate is for other.example.com, not for mlflow.example.com",
        ),
        ([PUBLIC], timedelta(days=-1), "the certificate expired on"),
    ],
)
def test_up_refuses_a_certificate_that_no_client_would_believe(
    front: Front, names: list[str], lasts: timedelta, said: str
) -> None:
    front.with_files()
    kept = {path: path.read_bytes() for path in (front.program.stack / "certs").iterdir()}
    write_pair(front.program.stack / "certs", *Authority().issue(*names, lasts=lasts))
    front.settings(files(front))
    refused = front.program("up", "--no-link")
    assert (refused.code, said in refused.error["what"]) == (4, True), refused.document
    for path, content in kept.items():
        path.write_bytes(content)
    assert front.client(PUBLIC)("POST", SEARCH, QUERY).status == 200


def test_doctor_explains_a_name_without_certificate_and_one_of_somebody_unknown(front: Front) -> None:
    project = kedro_project(front, "elsewhere")
    certificate, key = Authority("Company CA").issue("localhost")
    write_pair(front.program.stack / "certs", certificate, key)
    front.settings(files(front).replace(PUBLIC, "localhost"))
    front.serving = ""
    assert front.program("up", "--no-link").code == 6, "its own check does not trust it either"
    for uri, said in (
        (f"https://127.0.0.1:{front.port}", "has no certificate for this name"),
        (f"https://localhost:{front.port}", "signed by CN=Company CA, is not trusted here"),
    ):
        assert front.program("link", str(project), "--uri", uri, "--no-check").code == 0, (
            front.program.report()
        )
        doctor = front.program("doctor", str(project))
        assert doctor.code == 6
        seen = [env["server"]["seen"] for env in doctor.data["environments"] if env["default"]]
        assert said in seen[0], doctor.data["environments"]
        assert next(env["server"]["hint"] for env in doctor.data["environments"] if env["default"])


def refusal(front: Front) -> str:
    """Why a client that verifies does not connect; "" when it does."""
    try:
        front.client(PUBLIC)("GET", "/health")
    except OSError as error:
        return str(error)
    return ""


# One runtime: what is said of a certificate is the same on both.
@pytest.mark.only("embedded")
def test_doctor_explains_an_expired_certificate(front: Front) -> None:
    authority = front.with_files()
    folder = front.program.stack / "certs"
    placed, served = folder / "cert.pem", (front.program.stack / CADDYFILE).with_name(CERTIFICATE)
    assert served.read_bytes() == placed.read_bytes()
    # Time passes: the same certificate, but that it has ended, in both places where the program found it and
    # put it.
    expired, _ = authority.issue(PUBLIC, lasts=timedelta(seconds=-1), key=(folder / "key.pem").read_bytes())
    for path in (placed, served):
        path.write_bytes(expired + authority.root)
    front.serving = ""
    running(front.program)["proxy"].kill()
    eventually(
        lambda: "expired" in refusal(front), 30, "the proxy is back, with the certificate that it finds"
    )
    doctor = front.program("doctor")
    assert doctor.code == 6
    assert f"the certificate of {PUBLIC} expired on" in doctor.error["why"], doctor.document
    assert "renew" in doctor.error["hint"]
    assert front.program("status").code == 6


def test_acme_gets_its_certificate_from_a_real_server(front: Front) -> None:
    needed("pebble", "pebble-challtestsrv")
    with pebble(own_address(), front.http_port, front.port) as acme:
        (front.program.stack / "acme.pem").write_bytes(acme.trusted)
        text = (
            f"  tls: acme\n  public_url: https://{PUBLIC}:{front.port}\n"
            f"  acme_ca: {acme.directory}\n  acme_ca_file: acme.pem\n"
        )
        front.serve(text + "  acme_email: team@example.com\n")
        client = front.client(PUBLIC)
        assert client("POST", SEARCH, QUERY).status == 200
        assert client("GET", "/health").headers["strict-transport-security"] == "max-age=31536000"
        with client.connect() as connection:
            assert isinstance(connection, ssl.SSLSocket)
            shown = connection.getpeercert()
        assert shown
        assert "Pebble" in str(shown["issuer"])
    # The certificate outlives its server and the container.
    front.program("down")
    front.serve(text + "  acme_email: team@example.com\n")
    assert front.client(PUBLIC)("POST", SEARCH, QUERY).status == 200


def test_external_believes_the_proxies_that_it_was_told_and_nobody_else(front: Front) -> None:
    text = f"  tls: external\n  port: {front.port}\n  public_url: https://{PUBLIC}\n"
    for trusted, believed in (
        ("198.51.100.0/24", False),
        ("127.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 10.0.0.0/8", True),
    ):
        front.serve(f"{text}  trusted_proxies: [{trusted}]\n", redirect=False)
        client = front.client(PUBLIC, tls=False)
        path = f"/api/2.0/mlflow/experiments/get?believed={believed}"
        assert (
            client("GET", path, Host=PUBLIC, X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https").status
            == 400
        )
        assert (front.access("/api/2.0/mlflow/experiments/get")["address"] == "203.0.113.9") is believed
    assert not front.ca.exists()


# One runtime: the decision is the same on both.
@pytest.mark.only("embedded")
def test_a_taken_port_for_redirects_is_named(front: Front) -> None:
    front.settings(f"  tls: internal\n  public_url: https://mlflow.lan:{front.port}\n")
    front.program("down")
    front.serving = ""
    with held(front.http_port):
        refused = front.program("up", "--no-link")
    assert refused.code == 4
    assert f"port {front.http_port} is already in use" in refused.error["what"]
    assert "http_port" in refused.error["hint"]
