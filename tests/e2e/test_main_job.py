"""The main job on real parts, from the built wheel.

`kedro new`, `up`, `kedro run`, and the run is where it belongs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest

from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.s3_server import KEY, SECRET, S3Server

CASES = ("docker-minio", "docker-local", "embedded-local", "embedded-s3")
BUCKET = "team-bucket"
PIPELINE = """\
from kedro.pipeline import node, pipeline


def learn(alpha):
    return {"score": {"value": 0.5 + alpha, "step": 1}}, "a picture of sorts"


def register_pipelines():
    return {"__default__": pipeline([node(learn, "params:alpha", ["scores", "report"])])}
"""
CATALOG = """\
scores:
  type: kedro_mlflow.io.metrics.MlflowMetricsHistoryDataset
report:
  type: kedro_mlflow.io.artifacts.MlflowArtifactDataset
  dataset:
    type: text.TextDataset
    filepath: data/08_reporting/report.txt
"""
CLIENT = """\
import filecmp, hashlib, json, os, sys, tempfile, time
import mlflow
size, folder = int(sys.argv[1]), sys.argv[2]
mlflow.set_experiment("transfers")
source = os.path.join(folder, "payload.bin")
with open(source, "wb") as file:
    block = os.urandom(1 << 20)
    for number in range(size >> 20):
        file.write(number.to_bytes(8, "big") + block[8:])
    file.write(os.urandom(size & ((1 << 20) - 1)))
started = time.monotonic()
with mlflow.start_run() as run:
    mlflow.log_artifact(source)
up = time.monotonic() - started
started = time.monotonic()
got = mlflow.artifacts.download_artifacts(
    f"runs:/{run.info.run_id}/payload.bin", dst_path=os.path.join(folder, "back")
)
same = filecmp.cmp(source, got, shallow=False)
print(json.dumps({"same": same, "uri": run.info.artifact_uri, "up": up, "down": time.monotonic() - started}))
"""


@dataclass
class Case:
    """One stack of the matrix, with a linked Kedro project."""

    program: Program
    artifacts: str
    project: Path
    uri: str
    first_up: dict[str, Any]
    s3: S3Server | None


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Case]:
    runtime, artifacts = request.param.split("-")
    if runtime == "docker":
        request.getfixturevalue("docker")
    s3 = request.getfixturevalue("s3_server") if artifacts == "s3" else None
    program = Program(installed, stacks / request.param / "stack", runtime)
    program.settings(_settings(artifacts, s3))
    if s3:
        s3.client().create_bucket(Bucket=BUCKET)
        program.variables |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    project = _kedro_new(program, stacks / request.param)
    try:
        answer = program.up(cwd=project)
        yield Case(program, artifacts, project, answer.data["tracking_uri"], answer.document, s3)
    finally:
        program.remove()


def _settings(artifacts: str, s3: S3Server | None) -> str:
    store = f"artifact_store:\n  kind: {artifacts}\n"
    if s3:
        store += f"  bucket: {BUCKET}\n  prefix: mlflow/files\n  endpoint_url: {s3.url}\n"
    return f"{store}server:\n  port: {free_port()}\n"


def _kedro_new(program: Program, parent: Path) -> Path:
    argv = ["kedro", "new", "--name", "demo", "--tools", "none", "--example", "n", "--telemetry", "no"]
    argv[0] = str(program.environment / "bin/kedro")
    subprocess.run(argv, cwd=parent, check=True, capture_output=True, env=program.env)
    project = parent / "demo"
    (project / "src/demo/pipeline_registry.py").write_text(PIPELINE)
    (project / "conf/base/catalog.yml").write_text(CATALOG)
    (project / "conf/base/parameters.yml").write_text("alpha: 0.25\n")
    return project


@pytest.fixture(scope="module")
def run(case: Case) -> dict[str, Any]:
    """The one run that `kedro run` made, as the server has it."""
    done = subprocess.run(
        [str(case.program.environment / "bin/kedro"), "run"],
        cwd=case.project,
        env=case.program.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = _postgres(
        case,
        "SELECT r.run_uuid, r.artifact_uri FROM runs r JOIN experiments e USING (experiment_id) "
        "WHERE e.name = 'demo'",
    )
    assert len(rows) == 1, rows
    return {"id": rows[0][0], "artifact_uri": rows[0][1]}


def _postgres(case: Case, query: str) -> list[tuple[Any, ...]]:
    """The rows, asked of the database itself."""
    if case.program.runtime == "docker":
        host = case.program.address("postgres")
    else:
        host = json.loads((case.program.stack / "data/runtime.json").read_text())["run"]
    connection = psycopg2.connect(
        host=host, user="mlflow", dbname="mlflow", password=case.program.secret("backend_store_password")
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _stored(case: Case, path: str) -> bytes:
    """The artifact's bytes, asked of the store itself."""
    if case.artifacts == "local" and case.program.runtime == "embedded":
        return (case.program.stack / "data/artifacts" / path).read_bytes()
    if case.artifacts == "local":
        argv = [
            "docker",
            "exec",
            case.program.container("mlflow"),
            "cat",
            f"/var/lib/mlflow/artifacts/{path}",
        ]
        return subprocess.run(argv, check=True, capture_output=True).stdout
    if case.s3:
        return bytes(case.s3.client().get_object(Bucket=BUCKET, Key=f"mlflow/files/{path}")["Body"].read())
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{case.program.address('minio')}:9000",
        aws_access_key_id=case.program.secret("s3_access_key_id"),
        aws_secret_access_key=case.program.secret("s3_secret_access_key"),
        region_name="us-east-1",
    )
    return bytes(client.get_object(Bucket="mlflow", Key=path)["Body"].read())


def test_up_inside_a_kedro_project_links_it_and_every_check_passes(case: Case) -> None:
    data = case.first_up["data"]
    assert data["linked"] == [str(case.project)]
    assert [check["name"] for check in data["checks"] if check["ok"]] == [
        "tracking server",
        "backend store",
        "artifact store",
    ]
    assert {"verb": "created", "subject": "postgres", "detail": "backend store"} in data["steps"]
    assert ("ok", "kedro") in [(step["verb"], step["subject"]) for step in data["steps"]], data["steps"]


def test_a_kedro_run_is_a_row_in_postgres_with_its_parameter_and_metric(
    case: Case, run: dict[str, Any]
) -> None:
    assert _postgres(
        case, f"SELECT key, value FROM params WHERE run_uuid = '{run['id']}' AND key LIKE '%alpha'"
    ) == [("alpha", "0.25")]
    metrics = _postgres(case, f"SELECT key, value, step FROM metrics WHERE run_uuid = '{run['id']}'")
    assert [(value, step) for _, value, step in metrics] == [(0.75, 1)]


def test_its_artifact_goes_through_the_server_and_is_in_the_store(case: Case, run: dict[str, Any]) -> None:
    assert run["artifact_uri"].startswith("mlflow-artifacts:/")
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/") + "/report.txt"
    assert _stored(case, path) == b"a picture of sorts"


def test_the_kedro_project_holds_no_key_and_no_storage_word(case: Case, run: dict[str, Any]) -> None:
    secrets = [
        path.read_text()
        for path in (case.program.stack / "secrets").iterdir()
        if not path.name.startswith(".")
    ]
    words = [*secrets, "s3", "minio", "postgres", "bucket", "AWS"]
    for path in (case.project / "conf").rglob("*.yml"):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
        assert not [word for word in words if word in text], path
    assert (case.project / "conf/local/mlflow.yml").read_text().count(case.uri) == 1


@pytest.mark.parametrize(
    "size", [1000, pytest.param(600 * 1000 * 1000, marks=pytest.mark.slow)], ids=["small", "600MB"]
)
def test_bytes_come_back_with_the_clients_default_settings(case: Case, size: int, tmp_path: Path) -> None:
    env = case.program.env | {"MLFLOW_TRACKING_URI": case.uri}
    argv = [str(case.program.environment / "bin/python"), "-c", CLIENT, str(size), str(tmp_path)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    print(f"{case.program.runtime} {case.artifacts} {size} bytes: {seen}", file=sys.stderr)
    assert seen["same"]
    assert seen["uri"].startswith("mlflow-artifacts:/")
    shutil.rmtree(tmp_path)


def test_a_second_up_changes_and_restarts_nothing(case: Case) -> None:
    before = case.program.services()
    answer = case.program.up(cwd=case.project)
    changes = [
        step
        for step in answer.data["steps"]
        if step["verb"] in {"created", "changed", "started", "removed", "built", "wrote"}
    ]
    assert changes == []
    assert case.program.services() == before


def test_down_keeps_everything_and_names_the_linked_project(case: Case, run: dict[str, Any]) -> None:
    answer = case.program("down")
    assert answer.code == 0
    assert answer.data["linked_projects"] == [str(case.project)]
    assert case.program("status").code == 6
    case.program.up("--no-link")
    assert _postgres(case, f"SELECT count(*) FROM runs WHERE run_uuid = '{run['id']}'") == [(1,)]
    assert (
        _stored(case, run["artifact_uri"].removeprefix("mlflow-artifacts:/") + "/report.txt")
        == b"a picture of sorts"
    )


def test_erase_asks_and_then_leaves_nothing_of_the_data(case: Case) -> None:
    refused = case.program("erase", stdin="n\n")
    assert refused.code == 10
    assert case.program("status").code == 0
    erased = case.program("erase", "--yes")
    assert erased.code == 0
    assert not (case.program.stack / "secrets").exists()
    assert not (case.program.stack / "data").exists()
    if case.program.runtime == "docker":
        volumes = subprocess.run(
            ["docker", "volume", "ls", "-q", "--filter", f"name={case.first_up['data']['compose_project']}"],
            check=True,
            capture_output=True,
        )
        assert volumes.stdout == b""
