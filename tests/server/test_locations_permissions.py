"""Whatever a client names, by a path, an id or in two places at once, is what its permission covers.

Ana has an experiment with a run; Bob may not see it, and tries what MLflow's routes offer.
"""

from __future__ import annotations

import itertools
import json
import uuid
from urllib.parse import unquote

import pytest

from tests.server.scene import (
    API,
    ARTIFACTS,
    ATTACHMENT,
    PAGE,
    SECRET,
    TAG,
    WITH_LOGIN,
    Person,
    Scene,
    spans_of,
    store,
    trace_of,
)


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_a_path_is_what_the_permission_covers(scene: Scene) -> None:
    bob, ajax = scene.bob, ARTIFACTS.replace("/api", "/ajax-api")
    for prefix in ("", "./", "%2e/", "%252e/", "x/%2e%2e/", "workspaces/x/", "workspaces/../", "team/"):
        path = f"{prefix}{scene.home}"
        for base in (ARTIFACTS, ajax):
            scene.refused(bob("GET", f"{base}/{path}/secret.txt"))
            scene.refused(bob("GET", f"{base}?path={path}"))
            scene.refused(
                bob("PUT", f"{base}/{path}/planted.txt", b"planted", **{"Content-Type": "text/plain"})
            )
            scene.refused(bob("DELETE", f"{base}/{path}/secret.txt"))
            for route in ("create", "complete", "abort"):
                scene.refused(
                    bob(
                        "POST",
                        f"{base.replace('/artifacts', '')}/mpu/{route}/{path}/secret.txt",
                        {"path": "x"},
                    )
                )
            scene.refused(bob("GET", f"{base.replace('/artifacts', '')}/presigned/{path}/secret.txt"))
    # What is listed has one reading, too.
    scene.refused(bob("GET", ARTIFACTS))
    scene.refused(bob("GET", ARTIFACTS, {"path": scene.home}))
    for query in (f"path=x&path={scene.home}", f"path={scene.home}&path=x"):
        scene.refused(bob("GET", f"{ARTIFACTS}?{query}"))
    scene.untouched()
    assert scene.admin("GET", f"{ARTIFACTS}/./{scene.home}/secret.txt").status in {200, 404, 500}
    listed = scene.admin("GET", ARTIFACTS).document["files"]
    assert scene.experiment in {file["path"] for file in listed}


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_a_request_names_one_run_and_one_model(scene: Scene) -> None:
    bob, home, own = scene.bob, scene.run, scene.bobs_run
    metric = {"key": "planted", "value": 1, "timestamp": 1}
    for names in itertools.permutations(("run_id", "run_uuid", "runId", "runUuid"), 2):
        body = {**metric, names[0]: own, names[1]: home}
        scene.refused(bob("POST", f"{API}/runs/log-metric", body))
        query = f"{names[0]}={own}&{names[1]}={home}&path=planted.txt"
        scene.refused(bob("POST", f"{PAGE}/upload-artifact?{query}", b"x"))
        scene.refused(bob("GET", f"/get-artifact?{query.replace('planted', 'secret')}"))
    assert "metrics" not in scene.ana("GET", f"{API}/runs/get?run_id={home}").document["run"]["data"]
    anas, bobs = f"ana-{uuid.uuid4().hex}", f"bob-{uuid.uuid4().hex}"
    scene.ana.post("/registered-models/create", name=anas)
    bob.post("/registered-models/create", name=bobs)
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        named = json.dumps({"name": anas})
        scene.refused(
            bob("DELETE", f"{API}/registered-models/delete?name={bobs}", named, **{"Content-Type": kind})
        )
    assert scene.ana("GET", f"{API}/registered-models/get?name={anas}").status == 200
    # As MLflow's own client sends it: both names, and one run.
    assert bob("POST", f"{API}/runs/log-metric", {**metric, "run_id": own, "run_uuid": own}).status == 200
    scene.untouched()


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_an_experiment_is_the_same_in_every_spelling(scene: Scene) -> None:
    bob, ana, old = scene.bob, scene.ana, f"{API}/traces"
    trace = f"tr-{uuid.uuid4().hex}"
    assert ana("POST", "/api/3.0/mlflow/traces", trace_of(scene, trace, at=scene.experiment)).status == 200
    named = ana("GET", f"{API}/experiments/get?experiment_id={scene.experiment}").document["experiment"][
        "name"
    ]
    scorer = {"experiment_id": scene.experiment, "name": "scorer", "serialized_scorer": "{}"}
    for spelling in (
        f"0{scene.experiment}",
        f"{scene.experiment}%20",
        f"%20{scene.experiment}",
        f"%2B{scene.experiment}",
    ):
        text = unquote(spelling)
        for path in ("experiments/get?experiment_id=", "traces?experiment_ids="):
            reply = bob("GET", f"{API}/{path}{spelling}")
            assert reply.status == 403 or trace not in reply.body.decode(), (path, spelling, reply)
            assert path.startswith("traces") or reply.status == 403
        found = bob.post("/runs/search", experiment_ids=[text])
        assert scene.run not in found.body.decode(), found
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": text}}
        assert trace not in bob("POST", "/api/3.0/mlflow/traces/search", {"locations": [place]}).body.decode()
        query = (
            f'{{ mlflowSearchRuns(input: {{experimentIds: ["{text}"]}}) {{ runs {{ info {{ runId }} }} }} }}'
        )
        assert scene.run not in bob("POST", "/graphql", {"query": query}).body.decode()
        scene.refused(bob.post("/experiments/update", experiment_id=text, new_name="bob's"))
        scene.refused(bob.post("/experiments/set-experiment-tag", experiment_id=text, key="k", value="v"))
        scene.refused(bob.post("/runs/create", experiment_id=text))
        scene.refused(bob("POST", f"{API}/logged-models", {"experiment_id": text, "name": "model"}))
        scene.refused(
            bob("POST", "/api/3.0/mlflow/traces", trace_of(scene, f"tr-{uuid.uuid4().hex}", at=text))
        )
        scene.refused(bob("POST", old, {"experiment_id": text, "timestamp_ms": 1}))
        scene.refused(bob("POST", "/api/3.0/mlflow/scorers/register", {**scorer, "experiment_id": text}))
        spans = spans_of(uuid.uuid4().hex, "x", "y")
        scene.refused(bob("POST", "/v1/traces", spans, **{"X-Mlflow-Experiment-Id": text.strip()}))
    assert (
        ana("GET", f"{API}/experiments/get?experiment_id={scene.experiment}").document["experiment"]["name"]
        == named
    )
    # Ana's own client may spell it so, and be let in.
    assert ana("GET", f"{API}/experiments/get?experiment_id=0{scene.experiment}").status == 200
    assert ana.post("/runs/search", experiment_ids=[scene.experiment]).status == 200


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_a_scorer_is_its_experiments(scene: Scene) -> None:
    of_ana = {
        "experiment_id": scene.experiment,
        "name": "judge",
        "serialized_scorer": json.dumps({"name": "judge", "instructions": SECRET.decode()}),
    }
    made = scene.ana("POST", "/api/3.0/mlflow/scorers/register", of_ana)
    assert made.status == 200, made
    for path in ("get", "versions"):
        asked = f"/api/3.0/mlflow/scorers/{path}?experiment_id={scene.experiment}&name=judge"
        scene.refused(scene.bob("GET", asked))
        assert scene.ana("GET", asked).status == 200
    scene.refused(
        scene.bob(
            "DELETE",
            "/api/3.0/mlflow/scorers/delete",
            {"experiment_id": scene.experiment, "name": "judge", "version": 1},
        )
    )
    assert (
        scene.ana("GET", f"/api/3.0/mlflow/scorers/get?experiment_id={scene.experiment}&name=judge").status
        == 200
    )


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_a_query_does_not_stand_for_what_the_path_names(scene: Scene) -> None:
    def model(of: Person, experiment: str) -> str:
        made = of("POST", f"{API}/logged-models", {"experiment_id": experiment, "name": "model"})
        return str(made.document["model"]["info"]["model_id"])

    def trace(of: Person, experiment: str) -> str:
        name = f"tr-{uuid.uuid4().hex}"
        assert of("POST", "/api/3.0/mlflow/traces", trace_of(scene, name, at=experiment)).status == 200
        return name

    ana, bob = scene.ana, scene.bob
    anas, bobs = model(ana, scene.experiment), model(bob, scene.bobs_experiment)
    first, second = trace(ana, scene.experiment), trace(bob, scene.bobs_experiment)
    for method, path in (
        ("GET", f"{API}/logged-models/{anas}?model_id={bobs}"),
        ("GET", f"{API}/logged-models/{anas}/artifacts/directories?model_id={bobs}"),
        ("GET", f"{PAGE}/logged-models/{anas}/artifacts/files?artifact_file_path=x&model_id={bobs}"),
        ("DELETE", f"{API}/logged-models/{anas}?model_id={bobs}"),
        ("DELETE", f"{API}/logged-models/{anas}/tags/k?model_id={bobs}"),
        ("GET", f"/api/3.0/mlflow/traces/{first}?trace_id={second}"),
        ("GET", f"{API}/traces/{first}/info?request_id={second}"),
        ("GET", f"/api/3.0/mlflow/traces/{first}/assessments/x?trace_id={second}"),
    ):
        scene.refused(bob(method, path))
    datasets = "/api/3.0/mlflow/datasets/search?experiment_ids="
    scene.refused(bob("GET", datasets + scene.experiment, {"experiment_ids": [scene.bobs_experiment]}))
    assert ana("GET", f"{API}/logged-models/{anas}").status == 200
    assert bob("GET", f"{API}/logged-models/{bobs}?model_id={bobs}").status == 200


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_a_trace_stays_where_it_is(scene: Scene) -> None:
    ana, bob, number = scene.ana, scene.bob, uuid.uuid4().hex
    name, spans = f"tr-{number}", spans_of(number, "note", "ana's")
    assert ana("POST", "/v1/traces", spans, **{"X-Mlflow-Experiment-Id": scene.experiment}).status == 200
    scene.refused(bob("POST", "/api/3.0/mlflow/traces", trace_of(scene, name)), "belongs elsewhere")
    changed = spans_of(number, "note", "bob's")
    scene.refused(
        bob("POST", "/v1/traces", changed, **{"X-Mlflow-Experiment-Id": scene.bobs_experiment}),
        "belongs elsewhere",
    )
    # As a client does whose trace was begun by its spans.
    assert ana("POST", "/api/3.0/mlflow/traces", trace_of(scene, name, at=scene.experiment)).status == 200
    found = ana("GET", f"/api/3.0/mlflow/traces/{name}").document["trace"]["trace_info"]
    assert found["trace_location"]["mlflow_experiment"]["experiment_id"] == scene.experiment
    assert found["tags"]["note"] == "ana's"
    judged = {
        "assessment_name": "note",
        "source": {"source_type": "HUMAN", "source_id": "ana"},
        "feedback": {"value": "good"},
    }
    made = ana(
        "POST", f"/api/3.0/mlflow/traces/{name}/assessments", {"assessment": {**judged, "trace_id": name}}
    )
    kept = made.document["assessment"]["assessment_id"]
    own = trace_of(scene, f"tr-{uuid.uuid4().hex}")
    assert bob("POST", "/api/3.0/mlflow/traces", own).status == 200
    times = {"create_time": "2026-01-01T00:00:00Z", "last_update_time": "2026-01-01T00:00:00Z", "valid": True}
    taken = {
        **judged,
        **times,
        "assessment_id": kept,
        "trace_id": own["trace"]["trace_info"]["trace_id"],
        "feedback": {"value": "bad"},
    }
    own["trace"]["trace_info"]["assessments"] = [taken]
    scene.refused(bob("POST", "/api/3.0/mlflow/traces", own), "belongs elsewhere")
    assert (
        ana("GET", f"/api/3.0/mlflow/traces/{name}/assessments/{kept}").document["assessment"]["feedback"][
            "value"
        ]
        == "good"
    )
    # To a run of another experiment no trace is linked.
    headers = {"X-Mlflow-Experiment-Id": scene.bobs_experiment, "X-Mlflow-Run-Id": scene.run}
    scene.refused(bob("POST", "/v1/traces", spans_of(uuid.uuid4().hex, "x", "y"), **headers))
    headers["X-Mlflow-Run-Id"] = scene.bobs_run
    assert bob("POST", "/v1/traces", spans_of(uuid.uuid4().hex, "x", "y"), **headers).status == 200
    # A folder of another's that ends as a trace's own would.
    ghost = f"tr-{uuid.uuid4().hex}"
    path = f"{scene.experiment}/{ana.run(scene.experiment)}/artifacts/traces/{ghost}/artifacts"
    assert ana.put(f"{path}/attachments/{ATTACHMENT}", SECRET).status == 200
    assert bob("POST", "/api/3.0/mlflow/traces", trace_of(scene, ghost)).status == 200
    for location in (
        f"mlflow-artifacts:/{path}",
        f"{store(scene)}/{path}",
        f"mlflow-artifacts:/{scene.experiment}/traces/{ghost}/artifacts",
    ):
        scene.refused(
            bob("PATCH", f"/api/3.0/mlflow/traces/{ghost}/tags", {"key": TAG, "value": location}), "trace"
        )
    assert SECRET not in bob("GET", f"{PAGE}/get-trace-artifact?request_id={ghost}&path={ATTACHMENT}").body
