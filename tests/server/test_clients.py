"""MLflow's own client, through the proxy: what a project may do to track, store and find its work."""

from __future__ import annotations

import json
import urllib.request
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.data.numpy_dataset import from_numpy
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException

from tests.server.deployed import Deployed, unique


def test_experiments(client: MlflowClient) -> None:
    name = unique("Zürich ☃")
    made = client.create_experiment(name, tags={"team": "blue"})
    found = client.get_experiment_by_name(name)
    assert found is not None
    assert found.experiment_id == made
    assert client.get_experiment(made).artifact_location == f"mlflow-artifacts:/{made}"
    with pytest.raises(RestException, match="RESOURCE_ALREADY_EXISTS"):
        client.create_experiment(name)
    client.set_experiment_tag(made, "owner", "ada")
    client.delete_experiment_tag(made, "team")
    assert client.get_experiment(made).tags == {"owner": "ada"}
    assert [found.experiment_id for found in client.search_experiments(filter_string=f"name = '{name}'")] == [
        made
    ]
    client.rename_experiment(made, name + " anew")
    assert client.get_experiment(made).name == name + " anew"
    client.delete_experiment(made)
    deleted = client.search_experiments(
        view_type=ViewType.DELETED_ONLY, filter_string=f"name = '{name} anew'"
    )
    assert [found.experiment_id for found in deleted] == [made]
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"
    assert client.get_experiment_by_name("no such name") is None


def test_experiments_come_in_pages(client: MlflowClient) -> None:
    prefix = unique("page")
    made = {client.create_experiment(f"{prefix} {number}") for number in range(5)}
    found, token = [], None
    while True:
        page = client.search_experiments(
            filter_string=f"name LIKE '{prefix}%'", max_results=2, order_by=["name ASC"], page_token=token
        )
        found += [one.experiment_id for one in page]
        token = page.token
        if not token:
            break
    assert len(found) == 5
    assert set(found) == made


def test_a_run_with_everything(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run(run_name="parent", tags={"stage": "test"}, description="a run") as parent:
        mlflow.log_param("alpha", 0.5)
        mlflow.log_params({"beta": "ü", "depth": 3})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"accuracy": 0.9, "nan": float("nan"), "inf": float("inf")})
        mlflow.set_tag("colour", "blue")
        mlflow.set_tags({"a": 1, "b": 2})
        mlflow.delete_tag("b")
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("loss", 0.1)
    run = client.get_run(parent.info.run_id)
    assert run.data.params == {"alpha": "0.5", "beta": "ü", "depth": "3"}
    assert run.data.metrics["loss"] == 1 / 5
    assert np.isnan(run.data.metrics["nan"])
    assert run.data.metrics["inf"] > 1e300
    assert run.data.tags["colour"] == "blue"
    assert "b" not in run.data.tags
    assert run.info.status == "FINISHED"
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "loss")] == [
        (n, 1 / (n + 1)) for n in range(5)
    ]
    above = mlflow.get_parent_run(child.info.run_id)
    assert above is not None
    assert above.info.run_id == parent.info.run_id
    with pytest.raises(MlflowException, match=r"[Cc]hang"):
        client.log_param(run.info.run_id, "alpha", "0.6")


def test_batches(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    metrics = [Metric("curve", step / 7, 1_500_000_000_000 + step, step) for step in range(2500)]
    client.log_batch(run, metrics[:1000], [Param("p", "1")], [RunTag("t", "1")])
    for start in (1000, 2000):
        client.log_batch(run, metrics[start : start + 1000])
    history = client.get_metric_history(run, "curve")
    assert [(metric.step, metric.value) for metric in history] == [
        (metric.step, metric.value) for metric in metrics
    ]
    # The client makes several calls of what is too much for one.
    client.log_batch(run, [Metric("more", step, 1_500_000_000_000, step) for step in range(1001)])
    assert len(client.get_metric_history(run, "more")) == 1001
    assert client.get_run(run).data.params == {"p": "1"}


def test_asynchronous_logging(client: MlflowClient, experiment: str) -> None:
    with mlflow.start_run() as run:
        pending = [mlflow.log_metric("loss", step, step=step, synchronous=False) for step in range(50)]
        for operation in pending:
            assert operation is not None
            operation.wait()
        mlflow.flush_async_logging()
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 50


def test_the_life_of_a_run(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment, run_name="one").info.run_id
    client.update_run(run, status="RUNNING", name="two")
    assert client.get_run(run).info.run_name == "two"
    client.set_terminated(run, RunStatus.to_string(RunStatus.FAILED))
    assert client.get_run(run).info.status == "FAILED"
    assert client.get_run(run).info.end_time
    client.delete_run(run)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    with pytest.raises(MlflowException, match="deleted"):
        client.log_metric(run, "loss", 1)
    client.restore_run(run)
    client.log_metric(run, "loss", 1)
    with pytest.raises(MlflowException, match="not found"):
        client.get_run(uuid.uuid4().hex)


def test_runs_are_found_by_filter_order_and_page(client: MlflowClient, experiment: str) -> None:
    for number in range(12):
        with mlflow.start_run(run_name=f"run {number:02}", tags={"even": str(number % 2 == 0)}):
            mlflow.log_metric("score", number)
            mlflow.log_param("number", number)
    found = client.search_runs(
        [experiment],
        "metrics.score >= 5 AND tags.even = 'True' AND params.number != '8'",
        order_by=["metrics.score DESC"],
    )
    assert [run.data.metrics["score"] for run in found] == [10, 6]
    pages, token = [], None
    while True:
        page = client.search_runs(
            [experiment], order_by=["attributes.run_name ASC"], max_results=5, page_token=token
        )
        pages.append([run.info.run_name for run in page])
        token = page.token
        if not token:
            break
    assert [len(page) for page in pages] == [5, 5, 2]
    assert [name for page in pages for name in page] == [f"run {number:02}" for number in range(12)]
    frame = mlflow.search_runs(
        [experiment], filter_string="attributes.run_name LIKE 'run 0%'", order_by=["metrics.score ASC"]
    )
    assert list(frame["metrics.score"]) == list(range(10))
    with pytest.raises(MlflowException, match="Invalid"):
        client.search_runs([experiment], "colour = 'blue'")


def test_artifacts_of_every_kind(
    client: MlflowClient, experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    (tmp_path / "folder/deep").mkdir(parents=True)
    (tmp_path / "folder/a.txt").write_text("first")
    (tmp_path / "folder/deep/ü ☃ +%.bin").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "empty").touch()
    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    table = {"question": ["a", "b"], "answer": ["x", "ü"]}
    with mlflow.start_run() as run:
        mlflow.log_dict({"a": {"b": [1, "ü"]}}, "config.json")
        mlflow.log_dict({"a": 1}, "config.yaml")
        mlflow.log_text("Zürich ☃", "notes/text.txt")
        mlflow.log_figure(figure, "plots/line.png")
        mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), "black.png")
        mlflow.log_image(np.full((8, 8), 255, dtype=np.uint8), key="white", step=1)
        mlflow.log_table(table, "table.json")
        mlflow.log_table({"question": ["c"], "answer": ["y"]}, "table.json")
        mlflow.log_artifact(str(tmp_path / "empty"))
        mlflow.log_artifacts(str(tmp_path / "folder"), "folder")
    run_id = run.info.run_id
    assert run.info.artifact_uri == f"mlflow-artifacts:/{experiment}/{run_id}/artifacts"
    top = {item.path: item.is_dir for item in client.list_artifacts(run_id)}
    assert top | {"notes": True, "plots": True, "folder": True, "config.json": False, "empty": False} == top
    assert {item.path: item.file_size for item in client.list_artifacts(run_id, "folder")} == {
        "folder/a.txt": 5,
        "folder/deep": None,
    }
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/config.json") == {"a": {"b": [1, "ü"]}}
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/text.txt") == "Zürich ☃"
    assert mlflow.artifacts.load_image(f"{run.info.artifact_uri}/black.png").size == (8, 8)
    assert list(mlflow.load_table("table.json", run_ids=[run_id])["answer"]) == ["x", "ü", "y"]
    got = Path(client.download_artifacts(run_id, "", str(tmp_path)))
    assert (got / "folder/deep/ü ☃ +%.bin").read_bytes() == bytes(range(256)) * 1000
    assert (got / "empty").read_bytes() == b""
    assert (got / "plots/line.png").read_bytes().startswith(b"\x89PNG")
    one = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/folder/a.txt", dst_path=str(tmp_path / "one"))
    assert Path(one).read_text() == "first"
    # MLflow answers 500 for a file that is not in S3, and its client would ask again for minutes.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException):
        client.download_artifacts(run_id, "none.txt", str(tmp_path))


def test_artifacts_are_deleted(client: MlflowClient, experiment: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "a", "folder/a.txt")
    client.log_text(run.info.run_id, "b", "folder/b.txt")
    repository = get_artifact_repository(run.info.artifact_uri)
    repository.delete_artifacts("folder/a.txt")
    assert [item.path for item in client.list_artifacts(run.info.run_id, "folder")] == ["folder/b.txt"]


def test_data_sets_of_a_run(client: MlflowClient, experiment: str) -> None:
    data = from_pandas(pd.DataFrame({"x": [1, 2], "y": [0.5, 1.5]}), name="points", targets="y")
    with mlflow.start_run() as run:
        mlflow.log_input(data, context="training", tags={"k": "v"})
        mlflow.log_input(from_numpy(np.arange(3), name="numbers"), context="test")
    inputs = client.get_run(run.info.run_id).inputs
    assert inputs is not None
    assert {item.dataset.name for item in inputs.dataset_inputs} == {"points", "numbers"}
    found = mlflow.search_runs([experiment], filter_string="datasets.name = 'points'")
    assert list(found["run_id"]) == [run.info.run_id]


def test_metric_histories_of_many_runs_for_the_page(
    deployed: Deployed, client: MlflowClient, experiment: str
) -> None:
    runs = [client.create_run(experiment).info.run_id for _ in range(100)]
    for number, run in enumerate(runs):
        client.log_batch(run, [Metric("loss", number, 1_500_000_000_000, 0)])
    query = "&".join(f"run_id={run}" for run in runs)
    found = deployed.front("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{query}&metric_key=loss")
    assert found.status == 200, found.body
    assert {point["run_id"]: point["value"] for point in found.document["metrics"]} == {
        run: n for n, run in enumerate(runs)
    }
    query = "&".join(f"run_ids={run}" for run in runs)
    found = deployed.front(
        "GET",
        f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?{query}&metric_key=loss&max_results=10",
    )
    assert found.status == 200, found.body
    assert len(found.document["metrics"]) == 100


def test_what_the_page_asks_in_graphql(deployed: Deployed, client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment, run_name="shown").info.run_id
    client.log_metric(run, "loss", 0.25)
    query = (
        "query Q($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) "
        "{ run { info { runName } data { metrics { key value } } } } }"
    )
    found = deployed.front(
        "POST", "/graphql", {"query": query, "variables": {"data": {"runId": run}}, "operationName": "Q"}
    )
    assert found.status == 200
    shown = found.document["data"]["mlflowGetRun"]["run"]
    assert shown == {"info": {"runName": "shown"}, "data": {"metrics": [{"key": "loss", "value": 0.25}]}}


def test_webhooks(client: MlflowClient) -> None:
    hook = client.create_webhook(
        name=unique("hook").replace(" ", "-"),
        url="https://1.1.1.1/hook",
        events=["registered_model.created"],
        secret="s" * 16,
    )
    assert client.get_webhook(hook.webhook_id).url == "https://1.1.1.1/hook"
    changed = client.update_webhook(hook.webhook_id, description="changed", status="DISABLED")
    assert (changed.description, str(changed.status)) == ("changed", "DISABLED")
    assert hook.webhook_id in [one.webhook_id for one in client.list_webhooks()]
    client.delete_webhook(hook.webhook_id)
    with pytest.raises(MlflowException, match="not found"):
        client.get_webhook(hook.webhook_id)


def test_server_info_and_version(deployed: Deployed) -> None:
    with urllib.request.urlopen(f"{deployed.uri}/version", timeout=30) as answer:
        assert answer.read().decode() == mlflow.__version__
    with urllib.request.urlopen(f"{deployed.uri}/api/3.0/mlflow/server-info", timeout=30) as answer:
        info = json.load(answer)
    assert info["store_type"] == "SqlStore"
    # Clients are never sent to the store, which only the server reaches.
    assert (info["multipart_uploads_enabled"], info["multipart_downloads_enabled"]) == (False, False)
