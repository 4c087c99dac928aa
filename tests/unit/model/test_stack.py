"""Settings to a stack, and the environment of its services: what runs, in which order, with which secrets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from fnmatch import fnmatch

import pytest

from provisioner.model.addresses import IN_CONTAINERS
from provisioner.model.environment import service_environment
from provisioner.model.secret import Secret
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import Stack, build_stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.model.stores.postgres import postgres_uri

EXTERNAL = (
    "backend_store: {kind: external, "
    "uri: 'postgresql+psycopg2://team@db.example.com:5433/ml?sslmode=require'}\n"
)
S3 = (
    "artifact_store: {kind: s3, bucket: team, prefix: ml/flow, "
    "endpoint_url: 'https://s3.example.com', region: eu-west-1}\n"
)
LOGIN = "server: {auth: basic, public_url: 'https://ml.example.com'}\n"
SERVER = ["backend_store_password", "flask_secret_key", "crypto_kek_passphrase"]

# Settings and runtime: services in start order, secrets, artifact store.
STACKS: dict[str, tuple[str, RuntimeKind, list[str], set[str], str]] = {
    "Docker's default": (
        "",
        "docker",
        ["postgres", "volumes", "minio", "bootstrap", "mlflow", "proxy"],
        {"postgres_password", "minio_root_password", "s3_access_key_id", "s3_secret_access_key", *SERVER},
        "minio",
    ),
    "the embedded default": (
        "",
        "embedded",
        ["postgres", "bootstrap", "mlflow", "proxy"],
        {"postgres_password", *SERVER},
        "local",
    ),
    "artifacts in a folder, under Docker": (
        "artifact_store: {kind: local}\n",
        "docker",
        ["postgres", "bootstrap", "mlflow", "proxy"],
        {"postgres_password", *SERVER},
        "local",
    ),
    "MinIO asked for": (
        "artifact_store: {kind: minio}\n",
        "docker",
        ["postgres", "volumes", "minio", "bootstrap", "mlflow", "proxy"],
        {"postgres_password", "minio_root_password", "s3_access_key_id", "s3_secret_access_key", *SERVER},
        "minio",
    ),
    "a bucket of the user": (
        S3,
        "docker",
        ["postgres", "bootstrap", "mlflow", "proxy"],
        {"postgres_password", "s3_access_key_id", "s3_secret_access_key", *SERVER},
        "s3",
    ),
    "both stores of the user": (
        EXTERNAL + S3,
        "docker",
        ["bootstrap", "mlflow", "proxy"],
        {"s3_access_key_id", "s3_secret_access_key", *SERVER},
        "s3",
    ),
    "both stores of the user, embedded": (
        EXTERNAL + S3,
        "embedded",
        ["bootstrap", "mlflow", "proxy"],
        {"s3_access_key_id", "s3_secret_access_key", *SERVER},
        "s3",
    ),
    "a login": (
        LOGIN,
        "embedded",
        ["postgres", "bootstrap", "mlflow", "proxy"],
        {"postgres_password", "mlflow_admin_password", *SERVER},
        "local",
    ),
}


def stack_of(case: str) -> Stack:
    text, kind, *_ = STACKS[case]
    return build_stack(parse_settings(text), kind)


@pytest.mark.parametrize("case", STACKS)
def test_a_stack_has_these_services_in_this_order(case: str) -> None:
    stack = stack_of(case)
    _, kind, services, secrets, artifacts = STACKS[case]
    assert [service.name for service in stack.services] == services
    assert {spec.name for spec in stack.secrets} == secrets
    assert (stack.runtime, stack.artifacts.kind) == (kind, artifacts)
    assert [service.name for service in stack.long_running] == [
        name for name in services if name not in {"volumes", "bootstrap"}
    ]


@pytest.mark.parametrize("case", STACKS)
def test_whom_a_service_waits_for_stands_before_it(case: str) -> None:
    names: list[str] = []
    for service in stack_of(case).services:
        assert set(service.depends_on) <= set(names)
        names.append(service.name)


@pytest.mark.parametrize("case", STACKS)
def test_only_the_proxy_is_published_and_only_it_has_no_secret(case: str) -> None:
    stack = stack_of(case)
    assert [service.name for service in stack.services if service.is_proxy] == ["proxy"]
    assert stack.service("proxy").secrets == ()
    for service in stack.services:
        assert not service.user.startswith(("0:", "root"))


@pytest.mark.parametrize("case", STACKS)
def test_the_server_has_no_key_of_a_superuser(case: str) -> None:
    stack = stack_of(case)
    assert not {"postgres_password", "minio_root_password", "mlflow_admin_password"} & set(
        stack.service("mlflow").secrets
    )
    for spec in stack.secrets:
        for name in spec.services:
            assert spec.name in stack.service(name).secrets
    for service in stack.services:
        assert set(service.secrets) <= {spec.name for spec in stack.secrets}


@pytest.mark.parametrize(
    ("case", "from_env"),
    [
        ("Docker's default", {}),
        (
            "a bucket of the user",
            {"s3_access_key_id": "AWS_ACCESS_KEY_ID", "s3_secret_access_key": "AWS_SECRET_ACCESS_KEY"},
        ),
        (
            "both stores of the user",
            {
                "backend_store_password": "PGPASSWORD",
                "s3_access_key_id": "AWS_ACCESS_KEY_ID",
                "s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
            },
        ),
    ],
)
def test_only_the_keys_to_stores_of_the_user_come_from_the_user(case: str, from_env: dict[str, str]) -> None:
    assert {spec.name: spec.from_env for spec in stack_of(case).secrets if not spec.generated} == from_env


@pytest.mark.parametrize(
    ("text", "external"),
    [("", False), (LOGIN, False), (S3, True), (EXTERNAL, True), ("server: {genai: true}\n", True)],
    ids=["default", "login", "s3", "external", "genai"],
)
def test_the_server_has_a_route_out_only_when_it_needs_one(text: str, external: bool) -> None:
    stack = build_stack(parse_settings(text), "docker")
    assert stack.external is external
    assert ("edge" in stack.service("mlflow").networks) is external
    for name in ("postgres", "minio"):
        if name in [service.name for service in stack.services]:
            assert stack.service(name).networks == ("data",)


def test_limits_reach_their_service_and_no_other() -> None:
    stack = build_stack(parse_settings("resources: {mlflow: {memory: 4g, cpus: 1.5}}\n"), "docker")
    assert {service.name: (service.memory, service.cpus) for service in stack.long_running} == {
        "postgres": ("1g", None),
        "minio": ("1g", None),
        "mlflow": ("4g", 1.5),
        "proxy": ("256m", None),
    }


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(strings, itertools.chain(value, value.values())))
    elif isinstance(value, tuple | list):
        yield from itertools.chain.from_iterable(map(strings, value))
    elif is_dataclass(value):
        yield from itertools.chain.from_iterable(
            strings(getattr(value, field.name)) for field in fields(value)
        )


@pytest.mark.parametrize("case", STACKS)
def test_a_stack_holds_no_secret_value_and_its_services_wait_for_no_address(case: str) -> None:
    stack = stack_of(case)
    assert not any(
        isinstance(value, Secret) for service in stack.services for value in vars(service).values()
    )
    assert not any("5432" in text or "://" in text for text in strings(stack.services))


@pytest.mark.parametrize("case", STACKS)
def test_the_environment_of_a_service_names_secrets_by_their_place_alone(case: str) -> None:
    stack = stack_of(case)
    for service in stack.services:
        environment = service_environment(stack, service.name, IN_CONTAINERS)
        for key, value in environment.items():
            assert not (key.endswith("PASSWORD") and value), key
            assert not key.startswith(("AWS_ACCESS", "AWS_SECRET", "PGPASS")), key
            if "://" in value:
                assert ":" not in value.partition("://")[2].partition("@")[0] or "@" not in value, value


@pytest.mark.parametrize("case", STACKS)
def test_every_database_address_names_its_driver(case: str) -> None:
    stack = stack_of(case)
    for service in stack.services:
        for value in service_environment(stack, service.name, IN_CONTAINERS).values():
            assert (
                "postgres" not in value.partition("://")[0]
                or value.startswith("postgresql+psycopg2://")
                or "://" not in value
            )


def test_the_server_environment_of_the_default_is_this() -> None:
    environment = service_environment(stack_of("Docker's default"), "mlflow", IN_CONTAINERS)
    assert environment["PROVISION_BACKEND_STORE"] == "postgresql+psycopg2://mlflow@postgres:5432/mlflow"
    assert environment["PROVISION_ARTIFACTS_DESTINATION"] == "s3://mlflow"
    assert environment["MLFLOW_S3_ENDPOINT_URL"] == "http://minio:9000"
    assert environment["PROVISION_AUTH"] == "none"
    assert "PROVISION_AUTH_STORE" not in environment
    assert "PROVISION_POSTGRES_ADMIN" not in environment


def test_bootstrap_alone_knows_the_superusers() -> None:
    stack = stack_of("Docker's default")
    bootstrap = service_environment(stack, "bootstrap", IN_CONTAINERS)
    mlflow = service_environment(stack, "mlflow", IN_CONTAINERS)
    assert set(bootstrap) - set(mlflow) == {
        "PROVISION_POSTGRES_ADMIN",
        "PROVISION_MINIO_ADMIN",
        "PROVISION_INDEXES",
    }
    assert bootstrap["PROVISION_POSTGRES_ADMIN"] == "postgresql+psycopg2://postgres@postgres:5432/postgres"
    assert bootstrap["PROVISION_MINIO_ADMIN"] == "minio:9000"


def test_stores_of_the_user_are_used_as_they_are() -> None:
    environment = service_environment(stack_of("both stores of the user"), "bootstrap", IN_CONTAINERS)
    assert (
        environment["PROVISION_BACKEND_STORE"]
        == "postgresql+psycopg2://team@db.example.com:5433/ml?sslmode=require"
    )
    assert environment["PROVISION_ARTIFACTS_DESTINATION"] == "s3://team/ml/flow"
    assert environment["MLFLOW_S3_ENDPOINT_URL"] == "https://s3.example.com"
    assert environment["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert not {"PROVISION_POSTGRES_ADMIN", "PROVISION_MINIO_ADMIN", "PROVISION_INDEXES"} & set(environment)


def test_a_login_has_a_database_and_the_public_origin_is_accepted() -> None:
    environment = service_environment(stack_of("a login"), "mlflow", IN_CONTAINERS)
    assert environment["PROVISION_AUTH_STORE"] == "postgresql+psycopg2://mlflow@postgres:5432/mlflow_auth"
    assert environment["PROVISION_DEFAULT_PERMISSION"] == "EDIT"
    assert environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://ml.example.com"
    assert environment["MLFLOW_SERVER_ALLOWED_HOSTS"].startswith("ml.example.com,ml.example.com:*,")


def test_a_login_beside_a_database_of_the_user_is_kept_in_that_database() -> None:
    stack = build_stack(parse_settings(EXTERNAL + "server: {auth: basic}\n"), "docker")
    environment = service_environment(stack, "mlflow", IN_CONTAINERS)
    assert environment["PROVISION_AUTH_STORE"] == environment["PROVISION_BACKEND_STORE"]


@pytest.mark.parametrize(
    ("server", "named"),
    [
        ("{}", []),
        ("{public_url: 'https://ml.example.com', auth: basic}", ["ml.example.com"]),
        ("{public_url: 'http://localhost:8080'}", ["localhost"]),
        ("{public_url: 'https://[2001:db8::1]:8443', auth: basic}", ["[2001:db8::1]"]),
        ("{bind: 127.0.0.2}", ["127.0.0.2"]),
        ("{bind: '::1'}", ["[::1]"]),
        ("{bind: 127.0.0.2, allowed_hosts: [127.0.0.2, desk.lan]}", ["127.0.0.2", "desk.lan"]),
        ("{allowed_hosts: [desk.lan, '192.0.2.1', 'fd00::1']}", ["desk.lan", "192.0.2.1", "[fd00::1]"]),
    ],
)
def test_every_allowed_name_is_let_in_with_and_without_a_port(server: str, named: list[str]) -> None:
    stack = build_stack(parse_settings(f"server: {server}\n"), "docker")
    hosts = service_environment(stack, "mlflow", IN_CONTAINERS)["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")

    def lets_in(host: str) -> bool:
        # As MLflow matches them (`mlflow.server.security_utils.is_allowed_host_header`).
        return any(fnmatch(host, one) if "*" in one else host == one for one in hosts)

    for name in [
        *named,
        "localhost",
        "127.0.0.1",
        "[::1]",
        "host.docker.internal",
        "host.containers.internal",
    ]:
        assert lets_in(name)
        assert lets_in(f"{name}:5000")
    assert not any(
        map(
            lets_in,
            [
                "evil.example.com",
                "x.host.docker.internal",
                "127.0.0.20:5000",
                ":5000",
                "[:5000",
                "[2001:db8::2]:8443",
                "1:5000",
            ],
        )
    )


@pytest.mark.parametrize(
    ("server", "accepted"),
    [
        ("{}", []),
        ("{bind: '::1'}", []),
        ("{bind: 127.0.0.2}", ["http://127.0.0.2", "http://127.0.0.2:5000"]),
        (
            "{bind: 127.0.0.2, public_url: 'http://localhost:8080'}",
            ["http://localhost:8080", "http://127.0.0.2:5000"],
        ),
        (
            "{bind: 192.0.2.7, auth: basic, tls: external, trusted_proxies: [192.0.2.1], "
            "public_url: 'https://ml.example.com'}",
            ["https://ml.example.com"],
        ),
        (
            "{bind: 0.0.0.0, auth: basic, tls: internal, public_url: 'https://192.0.2.7:8443'}",
            ["https://192.0.2.7:8443"],
        ),
    ],
)
def test_pages_of_the_public_and_of_the_bound_loopback_address_are_accepted(
    server: str, accepted: list[str]
) -> None:
    stack = build_stack(parse_settings(f"server: {server}\n"), "docker")
    said = service_environment(stack, "mlflow", IN_CONTAINERS).get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS")
    # An empty variable would be one origin, of no characters.
    origins = said.split(",") if said is not None else []
    assert all(origins)

    def lets_in(origin: str) -> bool:
        # As MLflow matches them (`mlflow.server.security_utils.should_block_cors_request`).
        return any(fnmatch(origin, one) if "*" in one else origin == one for one in origins)

    assert all(map(lets_in, accepted))
    assert not any(
        map(lets_in, ["http://evil.example.com", "http://127.0.0.20:5000", "http://192.0.2.7:5000"])
    )


def test_a_database_behind_a_socket_is_addressed_by_its_directory() -> None:
    assert postgres_uri("u", "d", "/run/x") == "postgresql+psycopg2://u@/d?host=/run/x"
    assert postgres_uri("u", "d", "h:1") == "postgresql+psycopg2://u@h:1/d"


def test_artifacts_of_an_embedded_stack_are_in_its_own_folder() -> None:
    addresses = replace(IN_CONTAINERS, artifacts="/stack/data/artifacts", secrets="/stack/secrets")
    assert stack_of("the embedded default").artifacts.destination(addresses) == "/stack/data/artifacts"
    environment = service_environment(stack_of("the embedded default"), "mlflow", addresses)
    assert environment["PROVISION_SECRETS"] == "/stack/secrets"
    assert not any(key.startswith("AWS_") or "S3" in key for key in environment)
