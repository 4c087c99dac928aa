"""MLflow's own client, through the proxy: logged models, the registry and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel

from tests.server.deployed import unique


class Adder(PythonModel):
    """A model that adds one."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return model_input + 1


@pytest.fixture
def logged(experiment: str) -> Any:
    """A model logged by a run, with nothing installed to save it."""
    with mlflow.start_run():
        return mlflow.pyfunc.log_model(
            name="adder",
            python_model=Adder(),
            pip_requirements=["mlflow"],
            input_example=pd.DataFrame({"x": [1.0]}),
            params={"depth": 3},
        )


def test_logged_models(client: MlflowClient, experiment: str, logged: Any) -> None:
    model = mlflow.get_logged_model(logged.model_id)
    assert (model.name, model.params["depth"], model.status) == ("adder", "3", LoggedModelStatus.READY)
    client.set_logged_model_tags(model.model_id, {"k": "v", "gone": "x"})
    client.delete_logged_model_tag(model.model_id, "gone")
    tags = mlflow.get_logged_model(model.model_id).tags
    assert tags["k"] == "v"
    assert "gone" not in tags
    with mlflow.start_run():
        mlflow.log_metric("score", 0.9, model_id=model.model_id)
    found = mlflow.search_logged_models(
        [experiment], filter_string="metrics.score > 0.5", output_format="list"
    )
    assert [one.model_id for one in found] == [model.model_id]
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    assert list(loaded.predict(pd.DataFrame({"x": [1.0, 2.0]}))["x"]) == [2.0, 3.0]
    external = mlflow.create_external_model(name="elsewhere", params={"p": "1"})
    assert mlflow.get_logged_model(external.model_id).name == "elsewhere"
    by_hand = mlflow.initialize_logged_model(name="by-hand")
    assert (
        mlflow.finalize_logged_model(by_hand.model_id, LoggedModelStatus.FAILED).status
        == LoggedModelStatus.FAILED
    )
    client.delete_logged_model(by_hand.model_id)
    with pytest.raises(MlflowException, match="not found"):
        mlflow.get_logged_model(by_hand.model_id)


def test_registry(client: MlflowClient, logged: Any) -> None:
    name = unique("model").replace(" ", "-")
    client.create_registered_model(name, tags={"team": "blue"}, description="first")
    with pytest.raises(MlflowException, match="ALREADY_EXISTS"):
        client.create_registered_model(name)
    first = mlflow.register_model(logged.model_uri, name)
    second = mlflow.register_model(logged.model_uri, name, tags={"k": "v"})
    assert (int(first.version), int(second.version)) == (1, 2)
    assert (first.status, second.tags) == ("READY", {"k": "v"})
    client.set_registered_model_alias(name, "best", "1")
    assert int(client.get_model_version_by_alias(name, "best").version) == 1
    assert list(
        mlflow.pyfunc.load_model(f"models:/{name}@best").predict(pd.DataFrame({"x": [1.0]}))["x"]
    ) == [2.0]
    assert list(mlflow.pyfunc.load_model(f"models:/{name}/2").predict(pd.DataFrame({"x": [5.0]}))["x"]) == [
        6.0
    ]
    client.transition_model_version_stage(name, "1", "Staging")
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert {int(one.version): one.current_stage for one in client.get_latest_versions(name)} == {
        1: "Staging",
        2: "Production",
    }
    client.set_registered_model_tag(name, "colour", "red")
    client.delete_registered_model_tag(name, "team")
    client.set_model_version_tag(name, "1", "checked", "yes")
    client.delete_model_version_tag(name, "2", "k")
    assert client.get_registered_model(name).tags == {"colour": "red"}
    assert client.get_model_version(name, "1").tags == {"checked": "yes"}
    client.update_registered_model(name, "second")
    client.update_model_version(name, "1", "the best")
    assert client.get_model_version(name, "1").description == "the best"
    assert (
        client.get_model_version_download_uri(name, "1")
        == mlflow.get_logged_model(logged.model_id).artifact_location
    )
    assert [one.name for one in client.search_registered_models(f"name = '{name}'")] == [name]
    assert {int(one.version) for one in client.search_model_versions(f"name = '{name}'")} == {1, 2}
    copied = client.copy_model_version(f"models:/{name}/1", f"{name}-copy")
    assert int(copied.version) == 1
    client.delete_registered_model_alias(name, "best")
    with pytest.raises(MlflowException, match="not found"):
        client.get_model_version_by_alias(name, "best")
    client.rename_registered_model(name, f"{name}-anew")
    client.delete_model_version(f"{name}-anew", "1")
    client.delete_registered_model(f"{name}-anew")
    with pytest.raises(MlflowException, match="not found"):
        client.get_registered_model(f"{name}-anew")


def test_a_model_is_registered_as_it_is_logged(client: MlflowClient, experiment: str) -> None:
    name = unique("direct").replace(" ", "-")
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="m", python_model=Adder(), pip_requirements=["mlflow"], registered_model_name=name
        )
    assert int(info.registered_model_version) == 1
    local = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1"))
    assert (local / "MLmodel").is_file()


def test_autologging_and_a_scikit_learn_model(client: MlflowClient, experiment: str) -> None:
    from sklearn.linear_model import LinearRegression

    mlflow.sklearn.autolog(log_datasets=False, log_models=False)
    try:
        with mlflow.start_run() as run:
            model = LinearRegression().fit([[0], [1], [2]], [0, 1, 2])
            mlflow.sklearn.log_model(model, name="line", pip_requirements=["scikit-learn"])
    finally:
        mlflow.sklearn.autolog(disable=True)
    data = client.get_run(run.info.run_id).data
    assert data.metrics["training_r2_score"] == pytest.approx(1)
    (logged,) = mlflow.search_logged_models([experiment], output_format="list")
    assert mlflow.sklearn.load_model(f"models:/{logged.model_id}").coef_ == pytest.approx(model.coef_)


def test_prompts(client: MlflowClient) -> None:
    name = unique("prompt").replace(" ", "-")
    mlflow.genai.register_prompt(name, "Say {{what}} in Zürich", commit_message="first", tags={"k": "v"})
    second = mlflow.genai.register_prompt(name, [{"role": "user", "content": "Say {{what}}"}])
    assert int(second.version) == 2
    assert mlflow.genai.load_prompt(name, version=1).format(what="hello") == "Say hello in Zürich"
    mlflow.genai.set_prompt_alias(name, "live", 1)
    assert int(mlflow.genai.load_prompt(f"prompts:/{name}@live").version) == 1
    assert [prompt.name for prompt in mlflow.genai.search_prompts(f"name = '{name}'")] == [name]
    client.set_prompt_tag(name, "team", "blue")
    client.set_prompt_version_tag(name, "1", "checked", "yes")
    assert client.get_prompt(name).tags["team"] == "blue"
    mlflow.genai.delete_prompt_alias(name, "live")
    assert {int(one.version) for one in client.search_prompt_versions(name)} == {1, 2}
    for version in ("1", "2"):
        client.delete_prompt_version(name, version)
    client.delete_prompt(name)
    assert mlflow.genai.load_prompt(name, version=1, allow_missing=True) is None
