"""Whole command lines, and what their answers are read as."""

from __future__ import annotations

import configparser
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest

from provisioner.mlflow_api import IDENTITY_PATH
from provisioner.model.addresses import IN_CONTAINERS
from provisioner.model.plan import ObservedService
from provisioner.model.settings import Settings
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import build_stack
from provisioner.runtimes.caddyfile import configuration_path, render_caddyfile
from provisioner.runtimes.docker import cli
from provisioner.runtimes.embedded.environment import (
    EnvironmentRecipe,
    ServerEnvironment,
    uv_commands,
    uv_environment,
)
from provisioner.runtimes.embedded.interpreter import Interpreter
from provisioner.runtimes.embedded.processes import (
    embedded_addresses,
    entrypoint_argv,
    launcher_argv,
    process_specs,
    supervisord_argv,
)
from provisioner.runtimes.embedded.supervisord_conf import render_launcher, render_supervisord
from tests.unit.runtimes.specs import BINARIES, INSTANCE, embedded

PORCELAIN = (
    '{{.ID}}\t{{.State}}\t{{.Status}}\t{{.Label "com.docker.compose.service"}}\t'
    '{{.Label "com.docker.compose.config-hash"}}\t{{.Label "com.docker.compose.oneoff"}}\t{{.Networks}}'
)


def test_compose_is_asked_on_a_project_by_name() -> None:
    assert cli.compose("p", "down", "--volumes") == ["docker", "compose", "-p", "p", "down", "--volumes"]
    assert cli.compose("p", "config", files=["-", "/s/o.yml"], progress="plain") == [
        *["docker", "compose", "--progress", "plain", "-p", "p", "-f", "-", "-f", "/s/o.yml", "config"]
    ]


def test_docker_is_asked_for_what_belongs_to_the_project() -> None:
    label = "label=com.docker.compose.project=p"
    assert cli.list_containers("p") == [
        "docker",
        "ps",
        "-a",
        "--no-trunc",
        "--filter",
        label,
        "--format",
        PORCELAIN,
    ]
    assert cli.list_volumes("p") == ["docker", "volume", "ls", "-q", "--filter", label]


def listing(rows: Sequence[tuple[str, ...]]) -> str:
    """What `docker ps` prints for them."""
    return "\n".join("\t".join(row) for row in rows) + "\n"


def test_containers_are_services_in_our_words() -> None:
    rows = [
        ("1", "running", "Up 2 hours (healthy)", "postgres", "h1", "False", "p_data"),
        ("2", "running", "Up 3 seconds (health: starting)", "mlflow", "h2", "False", "p_data"),
        ("3", "running", "Up 5 minutes (unhealthy)", "minio", "h3", "False", "p_data"),
        ("4", "running", "Up 5 minutes", "proxy", "h4", "False", "p_data"),
        ("5", "exited", "Exited (0) 3 minutes ago", "bootstrap", "h5", "False", "p_data"),
        ("6", "exited", "Exited (137) 3 minutes ago", "volumes", "h6", "False", "p_data"),
        ("7", "restarting", "Restarting (1) 2 seconds ago", "mine", "h7", "False", "p_data"),
        ("8", "created", "Created", "other", "h8", "False", "p_data"),
        ("9", "running", "Up 1 second", "mlflow", "h2", "True", "p_data"),
        ("10", "running", "Up 1 second", "", "", "", "p_data"),
    ]
    found = cli.parse_containers(listing(rows))
    assert {name: service.state for name, service in found.items()} == {
        "postgres": "running",
        "mlflow": "starting",
        "minio": "unhealthy",
        "proxy": "running",
        "bootstrap": "completed",
        "volumes": "failed",
        "mine": "unhealthy",
        "other": "stopped",
    }
    assert found["postgres"] == ObservedService("postgres", "running", "h1", "Up 2 hours (healthy)", "1")
    assert cli.parse_containers("") == {}


def test_a_container_that_compose_was_killed_over_lacks_a_network() -> None:
    stack = build_stack(Settings(), "docker")
    rows = [
        ("1", "created", "Created", "mlflow", "h1", "False", "p_data"),
        ("2", "running", "Up 1 second", "proxy", "h2", "False", "p_edge,p_web,mine"),
        ("3", "running", "Up 1 second", "postgres", "h3", "False", "p_data"),
        ("4", "exited", "Exited (0) 3 minutes ago", "volumes", "h4", "False", "none"),
        ("5", "running", "Up 1 second", "mlflow", "h1", "True", ""),
        ("6", "running", "Up 1 second", "of-the-user", "h5", "False", ""),
    ]
    assert cli.half_made(listing(rows), "p", stack) == {"mlflow": "p_web"}
    assert cli.half_made("", "p", stack) == {}


@pytest.mark.parametrize("order", [1, -1])
def test_two_containers_of_a_service_serve_and_are_not_as_wanted(order: int) -> None:
    rows = [
        ("1", "running", "Up 2 hours (healthy)", "mlflow", "h1", "False", "p_data"),
        ("2", "exited", "Exited (1) 2 seconds ago", "mlflow", "h2", "False", "p_data"),
        ("3", "running", "Up 2 hours", "proxy", "h3", "False", "p_data"),
    ]
    text = listing(rows[::order])
    seen = cli.parse_containers(text)["mlflow"]
    assert (seen.state, seen.fingerprint, seen.id) == ("running", "", "1")
    assert sorted(cli.containers_of(text, "mlflow")) == ["1", "2"]
    assert (cli.state_of(text, "2"), cli.state_of(text, "4")) == ("failed", "missing")


def test_hashes_are_by_service() -> None:
    assert cli.parse_hashes("mlflow abc\n\npostgres def\n") == {"mlflow": "abc", "postgres": "def"}


def test_only_pulls_are_shown_each_once() -> None:
    shown: list[str] = []
    line = cli.only_pulls(shown.append)
    for text in (
        " Image postgres Pulling ",
        " Image postgres Pulling ",
        " Container x Started",
        " Image postgres Pulled ",
    ):
        line(text)
    assert shown == ["Image postgres Pulling", "Image postgres Pulled"]


def test_the_processes_of_an_embedded_stack_are_these() -> None:
    assert list(embedded()) == ["initdb", "postgres", "bootstrap", "mlflow", "proxy"]
    assert [name for name, spec in embedded().items() if spec.long_running] == ["postgres", "mlflow", "proxy"]
    external = "backend_store: {kind: external, uri: 'postgresql+psycopg2://u@h/db'}\n"
    assert list(embedded(external)) == ["bootstrap", "mlflow", "proxy"]


def test_a_proxy_says_which_configuration_it_has() -> None:
    stack = build_stack(Settings(), "docker")
    first, same, other = (
        render_caddyfile(stack, IN_CONTAINERS, ["/x"], {"tls.crt": one}) for one in (b"1", b"1", b"2")
    )
    assert first == same
    assert configuration_path(first).startswith(f"{IDENTITY_PATH}/")
    assert configuration_path(first) != configuration_path(other)
    assert configuration_path(first) != configuration_path(
        render_caddyfile(stack, IN_CONTAINERS, ["/y"], {"tls.crt": b"1"})
    )


def test_postgres_listens_on_a_private_socket_alone() -> None:
    argv = embedded()["postgres"].argv
    assert argv[:3] == ("/env/bin/postgres", "-D", "data/postgres")
    settings = argv[4::2]
    assert {*argv[3::2]} == {"-c"}
    assert {"listen_addresses=", "unix_socket_directories=/@RUN@", "unix_socket_permissions=0700"} <= set(
        settings
    )


def test_postgres_takes_an_eighth_of_the_machine_or_what_the_user_gave_it() -> None:
    assert {"shared_buffers=256MB", "effective_cache_size=1024MB"} <= set(embedded()["postgres"].argv)
    given = embedded("resources: {postgres: {memory: 4g}}\n")["postgres"].argv
    assert {"shared_buffers=512MB", "effective_cache_size=2048MB"} <= set(given)


def test_postgres_is_ended_at_once_and_the_others_in_peace() -> None:
    assert {name: spec.stop_signal for name, spec in embedded().items() if spec.long_running} == {
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
    assert embedded()["mlflow"].argv == ("/env/bin/python", "deploy/provision_server", "server")
    assert embedded()["bootstrap"].argv == ("/env/bin/python", "deploy/provision_server", "bootstrap")
    assert entrypoint_argv(BINARIES, "probe", "ready") == (
        "/env/bin/python",
        "deploy/provision_server",
        "probe",
        "ready",
    )


def test_supervisord_and_the_launcher_are_started_by_the_environments_own_python() -> None:
    assert supervisord_argv(BINARIES, "c.conf") == [
        "/env/bin/python",
        "-m",
        "supervisor.supervisord",
        "-c",
        "c.conf",
    ]
    assert launcher_argv(BINARIES, "mlflow") == [
        "/env/bin/python",
        "deploy/provision_server",
        "launch",
        "mlflow",
    ]
    assert launcher_argv(BINARIES, "mlflow", ("a", "b")) == [
        "/env/bin/python",
        "deploy/provision_server",
        "launch",
        "mlflow",
        "a",
        "b",
    ]


def test_only_the_proxy_is_on_tcp() -> None:
    stack = build_stack(parse_settings('server: {bind: "::1"}\n'), "embedded")
    addresses = embedded_addresses(stack, INSTANCE)
    assert addresses.front == "[::1]:5001"
    assert [spec.name for spec in process_specs(stack, INSTANCE, BINARIES, 8000) if spec.listen] == [
        "mlflow",
        "proxy",
    ]
    assert (addresses.postgres, addresses.listen, addresses.minio) == (
        "/@RUN@",
        "unix:/@RUN@/mlflow.sock",
        "",
    )


def test_the_proxy_is_given_sockets_that_have_their_ports_for_themselves() -> None:
    secure = "server: {tls: internal, auth: basic, public_url: 'https://mlflow.test:8443', http_port: 8080}\n"
    stack, instance = build_stack(parse_settings(secure), "embedded"), replace(INSTANCE, port=8443)
    server, proxy = [spec for spec in process_specs(stack, instance, BINARIES, 8000) if spec.listen]
    assert json.loads(render_launcher([server]))["mlflow"]["listen"] == [
        "/@RUN@/mlflow.sock",
        "/@RUN@/mlflow-asgi.sock",
    ]
    assert json.loads(render_launcher([proxy]))["proxy"]["listen"] == [
        ["127.0.0.1", 8443],
        ["127.0.0.1", 8080],
    ]
    caddyfile = render_caddyfile(stack, embedded_addresses(stack, instance), [], {})
    assert [line.split()[1] for line in caddyfile.splitlines() if line.strip().startswith("bind ")] == [
        "fd/3",
        "fd/3",
        "fd/4",
    ]


def test_no_process_gets_the_users_environment_or_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    for spec in embedded("artifact_store: {kind: s3, bucket: team}\n").values():
        assert {"PATH", "HOME", "TMPDIR", "LANG"} <= set(spec.environment)
        assert "hunter2" not in str(spec)
        assert not any(key.startswith(("AWS_SECRET", "AWS_ACCESS", "PGPASSWORD")) for key in spec.environment)


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
    assert parsed["program:mlflow"]["command"] == "python deploy/provision_server launch mlflow"
    assert parsed["program:postgres"]["stopsignal"] == "INT"
    assert "/stack" not in text
    assert "/env" not in text


RECIPE = EnvironmentRecipe(b"packages", b"preparer", b"its packages")


def server_environment(tmp_path: Path, **options: object) -> ServerEnvironment:
    return ServerEnvironment(
        tmp_path,
        RECIPE,
        Interpreter(Path("/usr/bin/python3.11"), "3.11"),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("copied", "extra"), [(False, []), (True, ["--link-mode", "copy"])])
def test_the_server_environment_is_made_by_these_commands(
    tmp_path: Path, copied: bool, extra: list[str]
) -> None:
    exactly = ["/bin/uv", "pip", "install", "--python", "/m/bin/python", "--no-deps", "--require-hashes"]
    assert uv_commands("/bin/uv", server_environment(tmp_path), Path("/m"), Path("/t"), copied=copied) == [
        [
            "/bin/uv",
            "venv",
            "--quiet",
            "--no-project",
            "--relocatable",
            "--python",
            "/usr/bin/python3.11",
            "/m",
        ],
        [*exactly, "--compile-bytecode", *extra, "-r", "/t/requirements.txt"],
        [*exactly, "--quiet", "--target", "/t", "-r", "/t/requirements-compress.txt"],
        ["/m/bin/python", "/t/prepare_page.py"],
    ]


@pytest.mark.parametrize(
    ("environ", "options", "expected"),
    [
        ({"HTTPS_PROXY": "p", "HOME": "h"}, {}, {"HTTPS_PROXY": "p", "HOME": "h"}),
        (
            {"VIRTUAL_ENV": "v", "PYTHONPATH": "p", "UV_PYTHON": "x", "UV_CACHE_DIR": "c"},
            {},
            {"UV_CACHE_DIR": "c"},
        ),
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


def test_another_recipe_or_interpreter_has_another_environment(tmp_path: Path) -> None:
    one = server_environment(tmp_path)
    same = ServerEnvironment(tmp_path, RECIPE, Interpreter(Path("/opt/python3.11"), "3.11"))
    recipes = [replace(RECIPE, **{field.name: b"another"}) for field in fields(RECIPE)]
    others = [ServerEnvironment(tmp_path, recipe, one.interpreter) for recipe in recipes]
    others.append(ServerEnvironment(tmp_path, RECIPE, Interpreter(Path("/usr/bin/python3.12"), "3.12")))
    assert one.path == same.path
    assert len({one.path, *(other.path for other in others)}) == 5
    assert not one.is_complete()
