"""Whole command lines, and what Docker's answers to them mean."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import pytest

from provisioner.errors import CommandFailed, PreflightError
from provisioner.model.plan import ObservedService
from provisioner.model.settings import parse_settings
from provisioner.model.stack import build_stack
from provisioner.render.supervisord import Daemon, render_launcher, render_supervisord
from provisioner.runtimes import docker_cli as cli
from provisioner.runtimes.base import Place
from provisioner.runtimes.daemons import Programs, daemons, embedded_addresses, entrypoint_argv, launcher_argv, supervisord_argv
from provisioner.runtimes.interpreter import Interpreter
from provisioner.runtimes.server_environment import ServerEnvironment, uv_commands, uv_environment

PLACE = Place(Path("/stack"), "mlflow-abc123", 5001)
PROGRAMS = Programs(Path("/env/bin"))
PORCELAIN = (
    '{{.ID}}\t{{.State}}\t{{.Status}}\t{{.Label "com.docker.compose.service"}}\t'
    '{{.Label "com.docker.compose.config-hash"}}\t{{.Label "com.docker.compose.oneoff"}}'
)


def test_compose_is_asked_on_a_project_by_name() -> None:
    assert cli.compose("p", "down", "--volumes") == ["docker", "compose", "-p", "p", "down", "--volumes"]
    assert cli.compose("p", "config", files=["-", "/s/o.yml"], progress="plain") == [
        *["docker", "compose", "--progress", "plain", "-p", "p", "-f", "-", "-f", "/s/o.yml", "config"]
    ]


def test_docker_is_asked_for_what_belongs_to_the_project() -> None:
    label = "label=com.docker.compose.project=p"
    assert cli.list_containers("p") == ["docker", "ps", "-a", "--no-trunc", "--filter", label, "--format", PORCELAIN]
    assert cli.list_volumes("p") == ["docker", "volume", "ls", "-q", "--filter", label]


def test_containers_are_services_in_our_words() -> None:
    rows = [
        ("1", "running", "Up 2 hours (healthy)", "postgres", "h1", "False"),
        ("2", "running", "Up 3 seconds (health: starting)", "mlflow", "h2", "False"),
        ("3", "running", "Up 5 minutes (unhealthy)", "minio", "h3", "False"),
        ("4", "running", "Up 5 minutes", "proxy", "h4", "False"),
        ("5", "exited", "Exited (0) 3 minutes ago", "bootstrap", "h5", "False"),
        ("6", "exited", "Exited (137) 3 minutes ago", "volumes", "h6", "False"),
        ("7", "restarting", "Restarting (1) 2 seconds ago", "mine", "h7", "False"),
        ("8", "created", "Created", "other", "h8", "False"),
        ("9", "running", "Up 1 second", "mlflow", "h2", "True"),
        ("10", "running", "Up 1 second", "", "", ""),
    ]
    found = cli.parse_containers("\n".join("\t".join(row) for row in rows) + "\n")
    assert {name: service.state for name, service in found.items()} == {
        "postgres": "running",
        "mlflow": "starting",
        "minio": "ill",
        "proxy": "running",
        "bootstrap": "done",
        "volumes": "failed",
        "mine": "ill",
        "other": "stopped",
    }
    assert found["postgres"] == ObservedService("postgres", "running", "h1", "Up 2 hours (healthy)", "1")
    assert cli.parse_containers("") == {}


def test_hashes_are_by_service() -> None:
    assert cli.parse_hashes("mlflow abc\n\npostgres def\n") == {"mlflow": "abc", "postgres": "def"}


def test_only_pulls_are_shown_each_once() -> None:
    shown: list[str] = []
    line = cli.only_pulls(shown.append)
    for text in (" Image postgres Pulling ", " Image postgres Pulling ", " Container x Started", " Image postgres Pulled "):
        line(text)
    assert shown == ["Image postgres Pulling", "Image postgres Pulled"]


MISSING = "Docker's Compose plugin is missing"
STOPPED = "the Docker engine is not running"
FORBIDDEN = "this user may not use the Docker engine"
PORT = "the front door's port is taken"
DISK = "the disk of the Docker engine is full"
PULL = "an image could not be fetched"

# What Docker really wrote, by version.
MESSAGES = {
    "20.10, not running": ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", STOPPED),
    "28, not running": (
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the daemon is running: "
        "dial unix /var/run/docker.sock: connect: no such file or directory",
        STOPPED,
    ),
    "Desktop, not running": (
        "Cannot connect to the Docker daemon at unix:///home/ana/.docker/run/docker.sock. Is the docker daemon running?",
        STOPPED,
    ),
    "Desktop in WSL, not running": (
        "error during connect: this error may indicate that the docker daemon is not running: "
        'Get "http://%2F%2F.%2Fpipe%2Fdocker_engine/v1.24/version": open //./pipe/docker_engine: The system cannot find the file.',
        STOPPED,
    ),
    "20.10, forbidden": (
        "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/version": dial unix /var/run/docker.sock: connect: permission denied',
        FORBIDDEN,
    ),
    "26, forbidden": (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.45/version": dial unix /var/run/docker.sock: connect: permission denied',
        FORBIDDEN,
    ),
    "29, forbidden": ("permission denied while trying to connect to the docker API at unix:///var/run/docker.sock", FORBIDDEN),
    "20.10, no Compose": (
        "unknown flag: --short\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND\n\nTo get more help with docker, see our guides",
        MISSING,
    ),
    "20.10, no Compose, short flag": ("unknown shorthand flag: 'p' in -p\nSee 'docker --help'.", MISSING),
    "24, no Compose": ("docker: 'compose' is not a docker command.\nSee 'docker --help'", MISSING),
    "27, no Compose": ("docker: unknown command: docker compose\n\nRun 'docker --help' for more information", MISSING),
    "20.10, port": (
        "Error response from daemon: driver failed programming external connectivity on endpoint p-proxy-1 (8f3c): "
        "Bind for 127.0.0.1:5000 failed: port is already allocated",
        PORT,
    ),
    "20.10, port of another program": (
        "Error response from daemon: driver failed programming external connectivity on endpoint p-proxy-1 (8f3c): "
        "Error starting userland proxy: listen tcp4 127.0.0.1:5000: bind: address already in use",
        PORT,
    ),
    "28, port": (
        "Error response from daemon: failed to set up container networking: driver failed programming external connectivity on endpoint "
        "p-proxy-1 (8f3c): failed to bind host port for 127.0.0.1:5000:172.18.0.2:8080/tcp: address already in use",
        PORT,
    ),
    "Desktop, port": (
        "Error response from daemon: Ports are not available: exposing port TCP 127.0.0.1:5000 -> 127.0.0.1:0: "
        "listen tcp 127.0.0.1:5000: bind: address already in use",
        PORT,
    ),
    "an address that is not there": (
        "Error response from daemon: driver failed programming external connectivity on endpoint p-proxy-1 (8f3c): "
        "Error starting userland proxy: listen tcp6 [::1]:5000: bind: cannot assign requested address",
        "the front door's address is none of this machine",
    ),
    "disk": (
        "Error response from daemon: failed to register layer: write /opt/venv/lib/x.so: no space left on device",
        DISK,
    ),
    "20.10, no such repository": (
        "Error response from daemon: pull access denied for team/mlflow, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied",
        PULL,
    ),
    "no such tag": ("Error response from daemon: manifest for postgres:99 not found: manifest unknown: manifest unknown", PULL),
    "26, no such repository": (
        'failed to resolve reference "docker.io/team/mlflow:1": pull access denied, repository does not exist or may require authorization',
        PULL,
    ),
    "no network": (
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host',
        PULL,
    ),
    "network without an answer": (
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting for connection '
        "(Client.Timeout exceeded while awaiting headers)",
        PULL,
    ),
    "slow network": ('Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout', PULL),
    "Docker Hub's limit": (
        "Error response from daemon: toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
        PULL,
    ),
    "29, Docker Hub's limit": (
        "Error response from daemon: error from registry: You have reached your unauthenticated pull rate limit. "
        "https://www.docker.com/increase-rate-limit",
        PULL,
    ),
    "a registry with its own certificate": (
        'Error response from daemon: Get "https://registry.example.com/v2/": x509: certificate signed by unknown authority',
        PULL,
    ),
    "a registry that wants a login": (
        'Error response from daemon: Head "https://registry.example.com/v2/postgres/manifests/18": unauthorized: authentication required',
        PULL,
    ),
    "a private registry without a login": (
        'Error response from daemon: Get "https://r.example.com/v2/mlflow/manifests/1": no basic auth credentials',
        PULL,
    ),
}


def docker_failure(output: str, code: int | None = 1) -> CommandFailed:
    argv = ("docker", "compose", "-p", "p", "up")
    return CommandFailed("docker failed", " ".join(argv), output, argv=argv, code=code, output=output)


@pytest.mark.parametrize("case", MESSAGES)
def test_what_docker_says_is_told_as_what_to_mend(case: str) -> None:
    message, what = MESSAGES[case]
    noise = " Container p-postgres-1  Starting\n"
    explained = cli.explained(docker_failure(noise + message))
    assert isinstance(explained, PreflightError)
    assert explained.what == what
    assert explained.hint
    assert explained.why in [line.strip() for line in message.splitlines()]
    assert (explained.where, explained.left_as) == ("docker compose -p p up", "nothing was changed")


def test_what_had_started_before_the_failure_is_not_denied() -> None:
    explained = cli.explained(docker_failure(MESSAGES["28, port"][0]), "postgres still runs")
    assert explained.left_as == "postgres still runs"


def test_the_line_that_tells_is_shown_and_not_the_usage_below_it() -> None:
    explained = cli.explained(docker_failure(MESSAGES["20.10, no Compose"][0]))
    assert explained.why == "unknown flag: --short"


@pytest.mark.parametrize("message", ["", "Error response from daemon: No such container: x", 'service "mlflow" is not running'])
def test_any_other_failure_stays_what_it_is(message: str) -> None:
    failure = docker_failure(message)
    assert cli.explained(failure) is failure


def test_a_docker_that_is_not_there_is_said_with_the_way_out() -> None:
    failure = CommandFailed("the program docker is not there", argv=("docker", "version"))
    explained = cli.explained(failure)
    assert (explained.what, explained.exit_code) == ("Docker is not installed", 4)
    assert "--runtime embedded" in explained.hint


@pytest.mark.parametrize(
    ("engine", "compose", "problem"),
    [
        ("20.10.24+dfsg1", "2.20.0", ""),
        ("29.1.3", "v5.0.0", ""),
        ("27.5.1", "v2.32.4-desktop.1", ""),
        ("19.03.15", "2.29.1", "Docker engine 19.03.15 is too old"),
        ("20.10.0", "2.19.1", "Docker Compose 2.19.1 is too old"),
        ("20.10.0", "1.29.2", "Docker Compose 1.29.2 is too old"),
    ],
)
def test_versions_from_20_10_and_2_20_on_are_taken(engine: str, compose: str, problem: str) -> None:
    found: list[PreflightError] = []
    try:
        cli.check_versions(engine, compose)
    except PreflightError as error:
        found = [error]
    assert [error.what for error in found] == ([problem] if problem else [])
    assert all("or later is needed" in error.why and "update" in error.hint for error in found)


@pytest.mark.parametrize("endpoint", ["", "unix:///var/run/docker.sock", "npipe:////./pipe/docker_engine", "/run/docker.sock"])
def test_an_engine_of_this_machine_is_taken(endpoint: str) -> None:
    cli.refuse_remote(endpoint)


@pytest.mark.parametrize("endpoint", ["ssh://ana@server", "tcp://10.0.0.7:2376", "https://server"])
def test_an_engine_elsewhere_is_refused(endpoint: str) -> None:
    with pytest.raises(PreflightError, match="another machine") as caught:
        cli.refuse_remote(endpoint)
    assert caught.value.where == endpoint


@pytest.mark.parametrize(
    ("docker", "directory", "refused"),
    [
        (Path("/snap/bin/docker"), "/srv/.hidden/stack", True),
        (Path("/snap/bin/docker"), "/srv/stack", False),
        (Path("/usr/bin/docker"), "/srv/.hidden/stack", False),
        (None, "/srv/.hidden/stack", False),
    ],
)
def test_docker_from_snap_is_refused_hidden_folders_alone(docker: Path | None, directory: str, refused: bool) -> None:
    if not refused:
        cli.refuse_snap(docker, Path(directory))
        return
    with pytest.raises(PreflightError, match="hidden") as caught:
        cli.refuse_snap(docker, Path(directory))
    assert "--stack" in caught.value.hint


@pytest.mark.parametrize(
    ("config", "context"),
    [(None, ""), (b"{}", ""), (b'{"currentContext": "server"}', "server"), (b"[]", ""), (b"not json", ""), (b"\xff", "")],
)
def test_the_current_context_is_read_from_whatever_stands_there(config: bytes | None, context: str) -> None:
    assert cli.current_context(config) == context


def embedded(text: str = "") -> dict[str, Daemon]:
    stack = build_stack(parse_settings(text), "embedded")
    return {daemon.name: daemon for daemon in daemons(stack, PLACE, PROGRAMS)}


def test_the_processes_of_an_embedded_stack_are_these() -> None:
    assert list(embedded()) == ["initdb", "postgres", "bootstrap", "mlflow", "proxy"]
    assert [name for name, daemon in embedded().items() if daemon.lasting] == ["postgres", "mlflow", "proxy"]
    external = "backend_store: {kind: external, uri: 'postgresql+psycopg2://u@h/db'}\n"
    assert list(embedded(external)) == ["bootstrap", "mlflow", "proxy"]


def test_postgres_listens_on_a_private_socket_alone() -> None:
    argv = embedded()["postgres"].argv
    assert argv[:3] == ("/env/bin/postgres", "-D", "data/postgres")
    settings = argv[4::2]
    assert {*argv[3::2]} == {"-c"}
    assert {"listen_addresses=", "unix_socket_directories=/@RUN@", "unix_socket_permissions=0700", "max_connections=60"} <= set(settings)
    assert "max_connections=100" in embedded("server: {workers: 3}\n")["postgres"].argv


def test_postgres_is_ended_at_once_and_the_others_in_peace() -> None:
    assert {name: daemon.stop_signal for name, daemon in embedded().items() if daemon.lasting} == {
        "postgres": "INT",
        "mlflow": "TERM",
        "proxy": "TERM",
    }


def test_the_database_is_made_with_scram_and_its_password_file() -> None:
    assert embedded()["initdb"].argv == (
        "/env/bin/initdb",
        "--pgdata=data/postgres.new",
        "--username=postgres",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        "--encoding=UTF8",
        "--auth=scram-sha-256",
        "--pwfile=secrets/postgres_password",
    )


def test_server_and_bootstrap_are_the_same_program() -> None:
    assert embedded()["mlflow"].argv == ("/env/bin/python", "deploy/server/entrypoint.py", "server")
    assert embedded()["bootstrap"].argv == ("/env/bin/python", "deploy/server/entrypoint.py", "bootstrap")
    assert entrypoint_argv(PROGRAMS, "probe", "ready") == ("/env/bin/python", "deploy/server/entrypoint.py", "probe", "ready")


def test_supervisord_and_the_launcher_are_started_by_the_environments_own_python() -> None:
    assert supervisord_argv(PROGRAMS, "c.conf") == ["/env/bin/python", "-m", "supervisor.supervisord", "-c", "c.conf"]
    assert launcher_argv(PROGRAMS, "l.py", "mlflow") == ["/env/bin/python", "l.py", "mlflow"]
    assert launcher_argv(PROGRAMS, "l.py", "mlflow", ("a", "b")) == ["/env/bin/python", "l.py", "mlflow", "a", "b"]


def test_only_the_front_door_is_on_tcp() -> None:
    stack = build_stack(parse_settings('server: {bind: "::1"}\n'), "embedded")
    addresses = embedded_addresses(stack, PLACE)
    assert addresses.front == "[::1]:5001"
    assert (addresses.postgres, addresses.listen, addresses.minio) == ("/@RUN@", "unix:/@RUN@/mlflow.sock", "")


def test_no_process_gets_the_users_environment_or_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    for daemon in embedded("artifact_store: {kind: s3, bucket: team}\n").values():
        assert {"PATH", "HOME", "TMPDIR", "LANG"} <= set(daemon.environment)
        assert "hunter2" not in str(daemon)
        assert not any(key.startswith(("AWS_SECRET", "AWS_ACCESS", "PGPASSWORD")) for key in daemon.environment)


def test_supervisord_has_one_program_for_each_lasting_service_and_no_path_of_the_machine() -> None:
    text = render_supervisord(tuple(embedded().values()))
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    assert [section for section in parsed.sections() if section.startswith("program:")] == [
        "program:postgres",
        "program:mlflow",
        "program:proxy",
    ]
    priorities = [int(parsed[f"program:{name}"]["priority"]) for name in ("postgres", "mlflow", "proxy")]
    assert priorities == sorted(priorities)
    assert parsed["program:mlflow"]["command"] == "python deploy/server/launcher.py mlflow"
    assert parsed["program:postgres"]["stopsignal"] == "INT"
    assert "/stack" not in text
    assert "/env" not in text


def test_the_launcher_reads_whole_command_lines_whatever_they_hold() -> None:
    odd = Daemon("odd", ("/a b/%(x)s", 'quo"te', "ä\n"), {"KEY": "50%, it's"}, stop_signal="INT", log="logs/odd.log")
    read = json.loads(render_launcher([odd, embedded()["mlflow"]]))
    assert read["odd"] == {
        "argv": ["/a b/%(x)s", 'quo"te', "ä\n"],
        "environment": {"KEY": "50%, it's"},
        "parent_death_signal": "SIGINT",
        "log": "logs/odd.log",
    }
    assert "log" not in read["mlflow"]


def server_environment(tmp_path: Path, **options: object) -> ServerEnvironment:
    return ServerEnvironment(tmp_path, b"lock", Interpreter(Path("/usr/bin/python3.11"), "3.11"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("copied", "extra"), [(False, []), (True, ["--link-mode", "copy"])])
def test_the_server_environment_is_made_by_these_two_commands(tmp_path: Path, copied: bool, extra: list[str]) -> None:
    venv, install = uv_commands("/bin/uv", server_environment(tmp_path), Path("/m"), Path("/r.txt"), copied=copied)
    assert venv == ["/bin/uv", "venv", "--quiet", "--no-project", "--relocatable", "--python", "/usr/bin/python3.11", "/m"]
    assert install == [
        *["/bin/uv", "pip", "install", "--python", "/m/bin/python", "--no-deps", "--require-hashes", "--compile-bytecode"],
        *[*extra, "-r", "/r.txt"],
    ]


@pytest.mark.parametrize(
    ("environ", "options", "expected"),
    [
        ({"HTTPS_PROXY": "p", "HOME": "h"}, {}, {"HTTPS_PROXY": "p", "HOME": "h"}),
        ({"VIRTUAL_ENV": "v", "PYTHONPATH": "p", "UV_PYTHON": "x", "UV_CACHE_DIR": "c"}, {}, {"UV_CACHE_DIR": "c"}),
        ({"PIP_INDEX_URL": "i"}, {}, {"PIP_INDEX_URL": "i", "UV_DEFAULT_INDEX": "i"}),
        ({"UV_INDEX_URL": "u", "PIP_INDEX_URL": "i"}, {}, {"PIP_INDEX_URL": "i", "UV_DEFAULT_INDEX": "u"}),
        ({"UV_DEFAULT_INDEX": "u"}, {"index_url": "ours"}, {"UV_DEFAULT_INDEX": "ours"}),
        ({"PIP_CERT": "c"}, {}, {"PIP_CERT": "c", "SSL_CERT_FILE": "c"}),
        ({"SSL_CERT_FILE": "c"}, {"ca_file": Path("/s/ca.pem")}, {"SSL_CERT_FILE": "/s/ca.pem"}),
    ],
)
def test_uv_gets_the_users_network_and_none_of_the_users_choices(
    tmp_path: Path, environ: dict[str, str], options: dict[str, object], expected: dict[str, str]
) -> None:
    assert uv_environment(environ, server_environment(tmp_path, **options)) == expected


def test_another_lock_or_interpreter_has_another_environment(tmp_path: Path) -> None:
    one = ServerEnvironment(tmp_path, b"lock", Interpreter(Path("/usr/bin/python3.11"), "3.11"))
    same = ServerEnvironment(tmp_path, b"lock", Interpreter(Path("/opt/python3.11"), "3.11"))
    others = [
        ServerEnvironment(tmp_path, b"lock2", Interpreter(Path("/usr/bin/python3.11"), "3.11")),
        ServerEnvironment(tmp_path, b"lock", Interpreter(Path("/usr/bin/python3.12"), "3.12")),
    ]
    assert one.path == same.path
    assert len({one.path, *(other.path for other in others)}) == 3
    assert not one.is_complete()
