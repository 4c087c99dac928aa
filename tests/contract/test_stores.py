"""What bootstrap makes of real stores: MinIO, the user's S3, PostgreSQL. Run again it changes nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from botocore.exceptions import ClientError

from provision_server.stores.indexes import INDEXES
from tests.contract.bootstrap import Server, forgetful
from tests.support.embedded import PASSWORD, Postgres, server_environment, start_postgres
from tests.support.go_programs import needed
from tests.support.s3_server import KEY, SECRET, S3Server, start_minio

# The number of bootstrap's lock in deploy/provision_server/stores/postgres.py.
TURN = 0x70726F76
ROOT_USER, ROOT_PASSWORD = "provision", "root-of-the-tests-0123456789"


@pytest.fixture(scope="module")
def python() -> str:
    environment, _ = server_environment()
    return environment.binaries.path("python")


@pytest.fixture
def server(python: str, tmp_path: Path) -> Server:
    return Server(python, tmp_path / "secrets")


def one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The program ended with code 1 and one line that has these parts, and no secret."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("bootstrap: ")
    for part in parts:
        assert part in done.stderr
    for secret in (SECRET, ROOT_PASSWORD, PASSWORD, "hunter2"):
        assert secret not in done.stderr + done.stdout


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a good end said, without columns."""
    assert done.returncode == 0, done.stderr
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def minio() -> Iterator[S3Server]:
    """A MinIO as the stack's own: its root is whom bootstrap logs in as."""
    needed("minio")
    yield from start_minio(ROOT_USER, ROOT_PASSWORD)


@pytest.fixture
def own(server: Server, minio: S3Server) -> Server:
    """The server of a stack whose artifacts are in that MinIO."""
    address = minio.url.removeprefix("http://")
    server.variables |= {
        "PROVISION_ARTIFACTS_DESTINATION": "s3://artifacts",
        "MLFLOW_S3_ENDPOINT_URL": minio.url,
        "PROVISION_MINIO_ADMIN": address,
    }
    server.give(
        minio_root_password=ROOT_PASSWORD,
        s3_access_key_id="the-servers-key",
        s3_secret_access_key="hunter2-hunter2",
    )
    return server


def test_a_policy_that_a_starting_minio_forgets_is_made_again(own: Server) -> None:
    with (
        contextlib.contextmanager(start_minio)(ROOT_USER, ROOT_PASSWORD) as fresh,
        forgetful(fresh) as (address, asked),
    ):
        own.variables |= {"PROVISION_MINIO_ADMIN": address, "MLFLOW_S3_ENDPOINT_URL": fresh.url}
        assert "ok key limited to bucket artifacts" in lines(own.bucket())
    assert [path.rpartition("/")[2] for path in asked].count("add-canned-policy") == 2


def test_bucket_and_key_are_made_once_and_found_the_second_time(own: Server, minio: S3Server) -> None:
    own.variables["PROVISION_ARTIFACTS_DESTINATION"] = "s3://made-once"
    assert lines(own.bucket()) == [
        "created bucket made-once",
        "ok key limited to bucket made-once",
        "ok bucket made-once opens with the server's key",
    ]
    minio.client().put_object(Bucket="made-once", Key="a", Body=b"kept")
    assert lines(own.bucket())[0] == "unchanged bucket made-once"
    assert minio.client().get_object(Bucket="made-once", Key="a")["Body"].read() == b"kept"


def test_the_servers_key_opens_its_bucket_and_nothing_else(own: Server, minio: S3Server) -> None:
    lines(own.bucket())
    minio.client().create_bucket(Bucket="somebody-elses")
    key = minio.client("the-servers-key", "hunter2-hunter2")
    key.put_object(Bucket="artifacts", Key="a/b", Body=b"x")
    assert [item["Key"] for item in key.list_objects_v2(Bucket="artifacts")["Contents"]] == ["a/b"]
    assert key.get_object(Bucket="artifacts", Key="a/b")["Body"].read() == b"x"
    key.delete_object(Bucket="artifacts", Key="a/b")
    refused: dict[str, Any] = {
        "list_objects_v2": {"Bucket": "somebody-elses"},
        "put_object": {"Bucket": "somebody-elses", "Key": "a", "Body": b"x"},
        "create_bucket": {"Bucket": "a-new-one"},
        "delete_bucket": {"Bucket": "artifacts"},
        "get_bucket_policy": {"Bucket": "artifacts"},
    }
    for call, arguments in refused.items():
        with pytest.raises(ClientError) as caught:
            getattr(key, call)(**arguments)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, call
    assert [bucket["Name"] for bucket in key.list_buckets()["Buckets"]] == ["artifacts"]


def test_a_wrong_root_password_is_one_line_and_nothing_is_made(own: Server, minio: S3Server) -> None:
    own.variables["PROVISION_ARTIFACTS_DESTINATION"] = "s3://never-made"
    own.give(minio_root_password="hunter2")
    one_line(own.bucket(), "refuses its root password", "not those that this data was made with")
    assert "never-made" not in [bucket["Name"] for bucket in minio.client().list_buckets()["Buckets"]]


@pytest.fixture
def theirs(server: Server, s3_server: S3Server) -> Server:
    """The server of a stack whose artifacts are in a bucket of the user."""
    server.variables |= {
        "PROVISION_ARTIFACTS_DESTINATION": "s3://team/ml/flow",
        "MLFLOW_S3_ENDPOINT_URL": s3_server.url,
    }
    server.give(s3_access_key_id=KEY, s3_secret_access_key=SECRET)
    if "team" not in [bucket["Name"] for bucket in s3_server.client().list_buckets()["Buckets"]]:
        s3_server.client().create_bucket(Bucket="team")
    return server


def test_a_bucket_of_the_user_is_only_looked_at(theirs: Server, s3_server: S3Server) -> None:
    s3_server.client().put_object(Bucket="team", Key="theirs", Body=b"x")
    assert lines(theirs.bucket()) == ["ok bucket team opens with the server's key"]
    assert [item["Key"] for item in s3_server.client().list_objects_v2(Bucket="team")["Contents"]] == [
        "theirs"
    ]


def test_a_bucket_that_is_not_there_is_one_line_and_is_not_made(theirs: Server, s3_server: S3Server) -> None:
    theirs.variables["PROVISION_ARTIFACTS_DESTINATION"] = "s3://absent"
    one_line(theirs.bucket(), "bucket absent at http://127.0.0.1:", "there is no such bucket; make it first")
    assert "absent" not in [bucket["Name"] for bucket in s3_server.client().list_buckets()["Buckets"]]


@pytest.mark.parametrize("wrong", ["s3_access_key_id", "s3_secret_access_key"])
def test_a_wrong_key_is_one_line_that_names_the_secrets(theirs: Server, wrong: str) -> None:
    theirs.give(**{wrong: "hunter2"})
    one_line(theirs.bucket(), "access is denied", "s3_access_key_id", "s3_secret_access_key")


def test_a_store_that_does_not_answer_is_one_line_at_the_deadline(theirs: Server) -> None:
    theirs.variables["MLFLOW_S3_ENDPOINT_URL"] = "http://127.0.0.1:9"
    one_line(theirs.bucket(), "bucket team at http://127.0.0.1:9: not reachable")


def test_a_secret_that_is_not_there_is_one_line_with_its_place(theirs: Server) -> None:
    (theirs.secrets / "s3_access_key_id").unlink()
    one_line(
        theirs.bucket(),
        "secret s3_access_key_id cannot be read: No such file or directory",
        str(theirs.secrets),
    )
    theirs.give(s3_access_key_id="\n")
    one_line(theirs.bucket(), "secret s3_access_key_id is empty")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    yield from start_postgres()


@pytest.fixture
def backed(server: Server, postgres: Postgres) -> Server:
    """The server of a stack whose database is in that PostgreSQL."""
    server.variables |= {
        "PROVISION_BACKEND_STORE": postgres.uri("mlflow", "mlflow"),
        "PROVISION_POSTGRES_ADMIN": postgres.uri("postgres", "postgres"),
        "PROVISION_AUTH_STORE": postgres.uri("mlflow", "mlflow_auth"),
    }
    server.give(
        postgres_password=PASSWORD, backend_store_password="hunter2", mlflow_admin_password="hunter2-hunter2"
    )
    return server


@pytest.fixture
def made(backed: Server) -> Server:
    """The same after one bootstrap."""
    lines(backed.bootstrap())
    return backed


def test_role_database_and_schema_are_made_once_and_found_the_second_time(
    backed: Server, postgres: Postgres
) -> None:
    backed.variables["PROVISION_BACKEND_STORE"] = postgres.uri("first_role", "first")
    first = lines(backed.bootstrap())
    assert first[:2] == ["created role first_role", "created database first"]
    assert first[2].startswith("created tracking schema ")
    before = postgres.query("SELECT * FROM experiments", "first")
    assert [" ".join(line.split()[:2]) for line in lines(backed.bootstrap())] == [
        "unchanged role",
        "unchanged database",
        "unchanged tracking",
    ]
    assert postgres.query("SELECT * FROM experiments", "first") == before
    locations = postgres.query("SELECT experiment_id, artifact_location FROM experiments", "first")
    assert locations == [(0, "mlflow-artifacts:/0")]


OUR_INDEXES = "SELECT relname FROM pg_class WHERE relname LIKE 'provision%' ORDER BY 1"


def said_of_indexes(server: Server) -> list[str]:
    server.variables["PROVISION_INDEXES"] = "true"
    return [" ".join(line.split()[:3]) for line in lines(server.bootstrap()) if " index " in line]


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_our_indexes_are_made_where_they_are_wanted_and_anew_where_half_made(
    backed: Server, postgres: Postgres, whose: str
) -> None:
    backed.variables["PROVISION_BACKEND_STORE"] = postgres.uri("mlflow", whose)
    lines(backed.bootstrap())
    assert postgres.query(OUR_INDEXES, whose) == []
    if whose == "theirs":
        del backed.variables["PROVISION_POSTGRES_ADMIN"]
    assert said_of_indexes(backed) == [f"created index {name}" for name in INDEXES]
    assert postgres.query(OUR_INDEXES, whose) == [(name,) for name in sorted(INDEXES)]
    assert said_of_indexes(backed) == [f"unchanged index {name}" for name in INDEXES]
    first, second = INDEXES
    half_made = f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('{first}')"
    postgres.query(half_made, whose)
    assert said_of_indexes(backed) == [f"created index {first}", f"unchanged index {second}"]


def test_an_index_that_cannot_be_made_is_said_and_stops_nothing(backed: Server, postgres: Postgres) -> None:
    backed.variables["PROVISION_BACKEND_STORE"] = postgres.uri("mlflow", "refused")
    lines(backed.bootstrap())
    postgres.query("ALTER TABLE runs OWNER TO postgres", "refused")
    backed.variables["PROVISION_INDEXES"] = "true"
    assert lines(backed.bootstrap())[-1] == (
        "failed an index of our own, made at the next start: must be owner of table runs"
    )
    assert postgres.query(OUR_INDEXES, "refused") == []


def test_an_index_that_others_hold_up_is_given_up_and_made_at_the_next_start(
    backed: Server, postgres: Postgres
) -> None:
    backed.variables["PROVISION_BACKEND_STORE"] = postgres.uri("mlflow", "held_up")
    lines(backed.bootstrap())
    backed.variables |= {"PROVISION_INDEXES": "true", "PROVISION_DEADLINE": "3"}
    with postgres.connect("held_up") as other, other.cursor() as cursor:
        other.set_session(isolation_level="REPEATABLE READ")
        cursor.execute("SELECT count(*) FROM runs")
        said = lines(backed.bootstrap())[-1]
    assert said.startswith("failed an index of our own, made at the next start: canceling statement")
    assert said_of_indexes(backed) == [f"created index {name}" for name in INDEXES]


def test_of_two_at_once_one_makes_everything_and_the_other_finds_it(
    backed: Server, postgres: Postgres
) -> None:
    """As after an `up` that was killed while its bootstrap worked, and the next `up`."""
    backed.variables |= {
        "PROVISION_BACKEND_STORE": postgres.uri("twice", "twice"),
        "PROVISION_DEADLINE": "60",
    }
    verbs = sorted([line.split()[0] for line in lines(done)] for done in backed.bootstraps_at_once(2))
    assert verbs == [["created"] * 3, ["unchanged"] * 3]
    # With a role and a database that are somebody else's, as an external backend store has them.
    postgres.query("CREATE DATABASE alone OWNER twice")
    backed.variables |= {
        "PROVISION_BACKEND_STORE": postgres.uri("twice", "alone"),
        "PROVISION_POSTGRES_ADMIN": "",
    }
    verbs = sorted([line.split()[0] for line in lines(done)] for done in backed.bootstraps_at_once(2))
    assert verbs == [["created"], ["unchanged"]]


def test_one_that_never_ends_is_named_at_the_deadline(backed: Server, postgres: Postgres) -> None:
    with postgres.connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (TURN,))
        one_line(backed.bootstrap(), "another bootstrap has been at work on these stores for more than 2 s")
    lines(backed.bootstrap())


def test_the_servers_role_may_use_its_database_and_nothing_else(made: Server, postgres: Postgres) -> None:
    rights = postgres.query(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls "
        "FROM pg_roles WHERE rolname = 'mlflow'"
    )
    assert rights == [(False, False, False, False, False)]
    assert postgres.query("SELECT count(*) FROM experiments", "mlflow", "mlflow", "hunter2") == [(1,)]
    postgres.query("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 'x'")
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        postgres.query("SELECT 1", "mlflow", "stranger", "x")


def test_a_login_has_a_database_and_one_admin_made_once(made: Server, postgres: Postgres) -> None:
    made.variables["PROVISION_AUTH"] = "basic"
    said = lines(made.bootstrap())
    assert "created database mlflow_auth" in said
    assert any(line.startswith("created login schema") and line.endswith("login admin") for line in said)
    users = postgres.query("SELECT username, is_admin, password_hash FROM users", "mlflow_auth")
    assert [(name, admin) for name, admin, _ in users] == [("admin", True)]
    assert "hunter2" not in users[0][2]
    made.give(mlflow_admin_password="another-one-0123")
    assert "unchanged an admin login" in lines(made.bootstrap())
    assert postgres.query("SELECT username, is_admin, password_hash FROM users", "mlflow_auth") == users


def test_a_wrong_password_of_the_role_is_one_line(made: Server) -> None:
    made.give(backend_store_password="not-the-one-it-was-made-with")
    one_line(
        made.bootstrap(), "wrong password for mlflow in mlflow", "put the old secret files back from a backup"
    )


def test_a_wrong_superuser_password_is_one_line(made: Server) -> None:
    made.give(postgres_password="hunter2")
    one_line(
        made.bootstrap(), "wrong password for postgres in postgres", "not those that this data was made with"
    )


def test_a_database_that_does_not_answer_is_one_line_at_the_deadline(server: Server, tmp_path: Path) -> None:
    server.give(backend_store_password="hunter2")
    server.variables["PROVISION_BACKEND_STORE"] = f"postgresql+psycopg2://mlflow@/mlflow?host={tmp_path}"
    one_line(server.bootstrap(), "no connection as mlflow in mlflow", "within 2 s")


def test_a_schema_of_another_version_is_refused_and_untouched(made: Server, postgres: Postgres) -> None:
    tables = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    own = postgres.query("SELECT version_num FROM alembic_version", "mlflow")[0][0]
    before = postgres.query(tables, "mlflow")
    postgres.query("UPDATE alembic_version SET version_num = 'aaaaaaaaaaaa'", "mlflow")
    try:
        one_line(made.bootstrap(), "schema revision aaaaaaaaaaaa", f"expects {own}", "Nothing was changed")
        assert postgres.query("SELECT version_num FROM alembic_version", "mlflow") == [("aaaaaaaaaaaa",)]
        assert postgres.query(tables, "mlflow") == before
    finally:
        postgres.query(f"UPDATE alembic_version SET version_num = '{own}'", "mlflow")


@pytest.mark.parametrize(
    ("kind", "database", "table"),
    [("tracking", "mlflow", "alembic_version"), ("login", "mlflow_auth", "alembic_version_auth")],
)
def test_our_tracking_store_is_for_the_schemas_that_it_was_written_against(
    made: Server, postgres: Postgres, kind: str, database: str, table: str
) -> None:
    made.variables["PROVISION_AUTH"] = "basic"
    lines(made.bootstrap())
    assert said_against(made) == "", "of the locked MLflow, file by file, and its schemas"
    own = postgres.query(f"SELECT version_num FROM {table}", database)[0][0]
    postgres.query(f"UPDATE {table} SET version_num = 'aaaaaaaaaaaa'", database)
    try:
        assert said_against(made) == f"the {kind} schema is aaaaaaaaaaaa, not {own}"
    finally:
        postgres.query(f"UPDATE {table} SET version_num = '{own}'", database)


def test_our_tracking_store_is_not_for_a_database_without_a_schema(made: Server, postgres: Postgres) -> None:
    postgres.query("CREATE DATABASE nothing_yet OWNER mlflow")
    made.variables["PROVISION_BACKEND_STORE"] = postgres.uri("mlflow", "nothing_yet")
    assert said_against(made).startswith("the tracking schema is missing, not ")


def said_against(server: Server) -> str:
    """What a probe says against the server's own tracking store."""
    answer = server.probe("versions")
    assert answer.returncode == 0, answer.stderr
    return str(json.loads(answer.stdout)["reason_against_fast"])


def test_tables_without_a_revision_are_refused_and_untouched(made: Server, postgres: Postgres) -> None:
    made.variables["PROVISION_BACKEND_STORE"] = postgres.uri("mlflow", "foreign_tables")
    postgres.query("CREATE DATABASE foreign_tables OWNER mlflow")
    postgres.query("CREATE TABLE experiments (id int)", "foreign_tables", "mlflow", "hunter2")
    one_line(made.bootstrap(), "no schema revision; it was made by other means")
    assert postgres.query(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", "foreign_tables"
    ) == [("experiments",)]
