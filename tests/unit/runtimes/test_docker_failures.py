"""What Docker says when something is wrong, and what the user is told; and which Dockers are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import CommandFailed, PreflightError
from provisioner.runtimes.docker import cli

MISSING = "Docker's Compose plugin is missing"
STOPPED = "the Docker engine is not running"
FORBIDDEN = "this user may not use the Docker engine"
PORT = "the proxy's port is taken"
DISK = "the disk of the Docker engine is full"
PULL = "an image could not be fetched"

# What Docker really wrote, by version.
MESSAGES = {
    "20.10, not running": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        STOPPED,
    ),
    "28, not running": (
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct "
        "and if the daemon is running: "
        "dial unix /var/run/docker.sock: connect: no such file or directory",
        STOPPED,
    ),
    "Desktop, not running": (
        "Cannot connect to the Docker daemon at unix:///home/ana/.docker/run/docker.sock. "
        "Is the docker daemon running?",
        STOPPED,
    ),
    "Desktop in WSL, not running": (
        "error during connect: this error may indicate that the docker daemon is not running: "
        'Get "http://%2F%2F.%2Fpipe%2Fdocker_engine/v1.24/version": '
        "open //./pipe/docker_engine: The system cannot find the file.",
        STOPPED,
    ),
    "20.10, forbidden": (
        "Got permission denied while trying to connect to the "
        "Docker daemon socket at unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/version": '
        "dial unix /var/run/docker.sock: connect: permission denied",
        FORBIDDEN,
    ),
    "26, forbidden": (
        "permission denied while trying to connect to the Docker daemon socket at "
        "unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.45/version": '
        "dial unix /var/run/docker.sock: connect: permission denied",
        FORBIDDEN,
    ),
    "29, forbidden": (
        "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
        FORBIDDEN,
    ),
    "20.10, no Compose": (
        "unknown flag: --short\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND\n\n"
        "To get more help with docker, see our guides",
        MISSING,
    ),
    "20.10, no Compose, short flag": ("unknown shorthand flag: 'p' in -p\nSee 'docker --help'.", MISSING),
    "24, no Compose": ("docker: 'compose' is not a docker command.\nSee 'docker --help'", MISSING),
    "27, no Compose": (
        "docker: unknown command: docker compose\n\nRun 'docker --help' for more information",
        MISSING,
    ),
    "20.10, port": (
        "Error response from daemon: driver failed programming external connectivity on endpoint "
        "p-proxy-1 (8f3c): "
        "Bind for 127.0.0.1:5000 failed: port is already allocated",
        PORT,
    ),
    "20.10, port of another program": (
        "Error response from daemon: driver failed programming external connectivity on endpoint "
        "p-proxy-1 (8f3c): "
        "Error starting userland proxy: listen tcp4 127.0.0.1:5000: bind: address already in use",
        PORT,
    ),
    "28, port": (
        "Error response from daemon: failed to set up container networking: "
        "driver failed programming external connectivity on endpoint p-proxy-1 (8f3c): "
        "failed to bind host port for 127.0.0.1:5000:172.18.0.2:8080/tcp: address already in use",
        PORT,
    ),
    "Desktop, port": (
        "Error response from daemon: Ports are not available: "
        "exposing port TCP 127.0.0.1:5000 -> 127.0.0.1:0: "
        "listen tcp 127.0.0.1:5000: bind: address already in use",
        PORT,
    ),
    "an address that is not there": (
        "Error response from daemon: driver failed programming external connectivity on endpoint "
        "p-proxy-1 (8f3c): "
        "Error starting userland proxy: listen tcp6 [::1]:5000: bind: cannot assign requested address",
        "the proxy's address is none of this machine",
    ),
    "a build's own image": (
        "ERROR: failed to solve: python:3.13: "
        "failed to resolve source metadata for docker.io/library/python:3.13: dial tcp: i/o timeout",
        "the image python:3.13 could not be fetched",
    ),
    "disk": (
        "Error response from daemon: failed to register layer: "
        "write /opt/venv/lib/x.so: no space left on device",
        DISK,
    ),
    "20.10, no such repository": (
        "Error response from daemon: pull access denied for team/mlflow, "
        "repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied",
        "the image team/mlflow could not be fetched",
    ),
    "no such tag": (
        "Error response from daemon: manifest for postgres:99 not found: manifest unknown: manifest unknown",
        "the image postgres:99 could not be fetched",
    ),
    "26, no such repository": (
        'failed to resolve reference "docker.io/team/mlflow:1": '
        "pull access denied, repository does not exist or may require authorization",
        "the image team/mlflow:1 could not be fetched",
    ),
    "no network": (
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": '
        "dial tcp: lookup registry-1.docker.io: no such host",
        PULL,
    ),
    "network without an answer": (
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": '
        "net/http: request canceled while waiting for connection "
        "(Client.Timeout exceeded while awaiting headers)",
        PULL,
    ),
    "slow network": (
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout',
        PULL,
    ),
    "Docker Hub's limit": (
        "Error response from daemon: toomanyrequests: You have reached your pull rate limit. "
        "You may increase the limit by authenticating",
        PULL,
    ),
    "29, Docker Hub's limit": (
        "Error response from daemon: error from registry: "
        "You have reached your unauthenticated pull rate limit. "
        "https://www.docker.com/increase-rate-limit",
        PULL,
    ),
    "a registry with its own certificate": (
        'Error response from daemon: Get "https://registry.example.com/v2/": '
        "x509: certificate signed by unknown authority",
        PULL,
    ),
    "a registry that wants a login": (
        'Error response from daemon: Head "https://registry.example.com/v2/postgres/manifests/18": '
        "unauthorized: authentication required",
        "the image postgres:18 could not be fetched",
    ),
    "another processor": (
        "no matching manifest for linux/arm64/v8 in the manifest list entries",
        "an image is not made for this machine's processor",
    ),
    "an engine that left old clients behind": (
        "Error response from daemon: client version 1.43 is too old. "
        "Minimum supported API version is 1.44, please upgrade your client",
        "Docker's command line or Compose is too old for the engine",
    ),
    "a private registry without a login": (
        'Error response from daemon: Get "https://r.example.com/v2/mlflow/manifests/1": '
        "no basic auth credentials",
        "the image mlflow:1 could not be fetched",
    ),
}


def docker_failure(output: str, code: int | None = 1) -> CommandFailed:
    argv = ("docker", "compose", "-p", "p", "up")
    return CommandFailed("docker failed", " ".join(argv), output, argv=argv, returncode=code, output=output)


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


def test_an_image_that_was_asked_for_by_name_is_named_whatever_docker_says() -> None:
    argv = ("docker", "pull", "--quiet", "caddy:2")
    failure = CommandFailed("docker failed", argv=argv, returncode=1, output=MESSAGES["slow network"][0])
    assert cli.explained(failure).what == "the image caddy:2 could not be fetched"


@pytest.mark.parametrize("remote", [True, False])
def test_the_way_out_is_one_that_there_is_on_that_machine(remote: bool) -> None:
    def hint(case: str) -> str:
        return cli.explained(docker_failure(MESSAGES[case][0]), remote=remote).hint

    assert ("`provision deploy --ship-images`" in hint("no network")) is remote
    assert ("--runtime embedded" in hint("28, not running")) is not remote


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (
            "#8 [build 3/9] RUN python3 -m venv /opt/uv;     /opt/uv/bin/python",
            "3/9 RUN python3 -m venv /opt/uv; /opt/uv/bin/python",
        ),
        ("#5 [mlflow stage-1 2/4] RUN install -d /x", "2/4 RUN install -d /x"),
        ("#5 [2/4] COPY a b", "2/4 COPY a b"),
        ("Step 2/12 : ENV A=b", "2/12 ENV A=b"),
        ("#1 [internal] load build definition from Dockerfile", ""),
        ("#8 12.31 Collecting uv==0.9", ""),
        ("#8 DONE 12.3s", ""),
        ("", ""),
    ],
)
def test_the_steps_of_a_build_are_shown_and_not_their_output(line: str, step: str) -> None:
    assert cli.build_step(line) == step


def test_what_had_started_before_the_failure_is_not_denied() -> None:
    explained = cli.explained(docker_failure(MESSAGES["28, port"][0]), "postgres still runs")
    assert explained.left_as == "postgres still runs"


def test_the_line_that_tells_is_shown_and_not_the_usage_below_it() -> None:
    explained = cli.explained(docker_failure(MESSAGES["20.10, no Compose"][0]))
    assert explained.why == "unknown flag: --short"


@pytest.mark.parametrize(
    "message", ["", "Error response from daemon: No such container: x", 'service "mlflow" is not running']
)
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


@pytest.mark.parametrize(
    "endpoint", ["", "unix:///var/run/docker.sock", "npipe:////./pipe/docker_engine", "/run/docker.sock"]
)
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
def test_docker_from_snap_is_refused_hidden_folders_alone(
    docker: Path | None, directory: str, refused: bool
) -> None:
    if not refused:
        cli.refuse_snap(docker, Path(directory))
        return
    with pytest.raises(PreflightError, match="hidden") as caught:
        cli.refuse_snap(docker, Path(directory))
    assert "--stack" in caught.value.hint


@pytest.mark.parametrize(
    ("config", "context"),
    [
        (None, ""),
        (b"{}", ""),
        (b'{"currentContext": "server"}', "server"),
        (b"[]", ""),
        (b"not json", ""),
        (b"\xff", ""),
    ],
)
def test_the_current_context_is_read_from_whatever_stands_there(config: bytes | None, context: str) -> None:
    assert cli.current_context(config) == context
