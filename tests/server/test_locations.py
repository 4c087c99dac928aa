"""Whatever a client names, by a location, an id or in two places at once, is inside the artifact store and what its permission covers.

Ana has an experiment with a run; Bob may not see it, where there is a login, and tries what MLflow's routes offer.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import RUNTIMES
from tests.server.deployed import Deployed, unique
from tests.server.scene import API, ARTIFACTS, ATTACHMENT, PAGE, SECRET, TAG, Person, Scene, spans_of, store, trace_of
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.tls_client import basic

# Fields of requests that name a place, and what becomes of them.
PLACES = {
    "CreateExperiment.artifact_location": "test_an_experiment_...",
    "CreateModelVersion.source": "test_a_version_...",
    # The path inside what a run or a model has, which MLflow looks at.
    **dict.fromkeys(("ListArtifacts.path", "ListLoggedModelArtifacts.artifact_directory_path"), "inside"),
    **dict.fromkeys((f"{verb}MultipartUpload.path" for verb in ("Create", "Complete", "Abort")), "test_a_path_..."),
    "CompleteMultipartUpload.parts.url": "an answer of the store, which MLflow does not ask for anything",
    **dict.fromkeys(("CreatePresignedUploadUrl.path", "CreatePresignedDownloadUrl.path"), "inside; and no URL of the store is given"),
    # Kept as text, and opened by clients alone.
    **dict.fromkeys(("CreateDataset.source", "LogInputs.datasets.dataset.source"), "text"),
    **dict.fromkeys(("CreateAssessment.assessment.source", "UpdateAssessment.assessment.source"), "text: who judged"),
    "StartTraceV3.trace.trace_info.assessments.source": "text: who judged",
    "StartTraceV3.trace.trace_info.trace_location": "an experiment's id",
    "SearchTracesV3.locations": "experiments' ids",
    # Where messages go to: an admin's, and off.
    **dict.fromkeys(("CreateWebhook.url", "UpdateWebhook.url"), "no place of artifacts"),
    "CreatePromptOptimizationJob.source_prompt_uri": "a prompt's name",
    **dict.fromkeys((f"{verb}Workspace.default_artifact_root" for verb in ("Create", "Update")), "workspaces are off"),
    **dict.fromkeys((f"{verb}Workspace.trace_archival_config.location" for verb in ("Create", "Update")), "workspaces are off"),
}


WITH_LOGIN = [pytest.param((runtime, True), id=f"{runtime}-login") for runtime in RUNTIMES]
OPEN = [pytest.param((runtime, False), id=f"{runtime}-open") for runtime in RUNTIMES]


@pytest.fixture(scope="module", params=WITH_LOGIN + OPEN)
def scene(request: pytest.FixtureRequest, installed: Path, stacks: Path) -> Iterator[Scene]:
    """On Docker artifacts are in S3, embedded in a folder."""
    runtime, login = request.param
    if runtime == "docker":
        request.getfixturevalue("docker")
    program = Program(installed, stacks / f"places-{runtime}-{login}" / "stack", runtime)
    with program.running(f"server:\n  auth: {'basic' if login else 'none'}\n  port: {free_port()}\n") as answer:
        stack = Deployed(program, answer.data["tracking_uri"])
        names = {"admin": program.secret("mlflow_admin_password")} if login else {}
        for name in ("ana", "bob") if login else ():
            names[name] = program("user", "add", name, "--generate").data["password"]
        people = {name: Person(stack, {"Authorization": basic(name, names[name])} if login else {}) for name in ("admin", "ana", "bob")}
        ana, bob = people["ana"], people["bob"]
        experiment, bobs = ana.experiment(), bob.experiment()
        found = Scene(stack, login, **people, experiment=experiment, run=ana.run(experiment), bobs_experiment=bobs, bobs_run=bob.run(bobs))
        for name, content in {"secret.txt": SECRET, f"attachments/{ATTACHMENT}": SECRET, "traces.json": b'{"spans": []}'}.items():
            assert ana.put(f"{found.home}/{name}", content).status == 200
        if login:
            granted = program("user", "grant", "bob", "--permission", "NO_PERMISSIONS", "--experiment", experiment)
            assert granted.code == 0, program.report()
        yield found


def test_every_field_that_names_a_place_is_known(scene: Scene) -> None:
    found = json.loads(scene.stack.python(Path(__file__).with_name("location_fields.py")))
    assert found == sorted(PLACES)


def test_an_experiment_lies_inside_the_store(scene: Scene) -> None:
    for location in (
        *(
            "s3://other/x",
            "s3://mlflow",
            "file:///tmp/x",
            "/tmp/x",
            "relative",
            "gs://bucket/x",
            "wasbs://c@a.blob.core.windows.net/x",
            "dbfs:/x",
        ),
        *(
            "http://127.0.0.1:9/x",
            "ftp://127.0.0.1:9/x",
            "hdfs://127.0.0.1:9/x",
            "mlflow-artifacts://127.0.0.1:9/x",
            "models:/x/1",
            "runs:/x",
        ),
        *("mlflow-artifacts:/", "mlflow-artifacts:/a/../x", "mlflow-artifacts:/a/%2e%2e/x", f"{store(scene)}/x"),
        *(f"mlflow-artifacts:/{scene.experiment}", f"mlflow-artifacts:/{scene.home}", f"mlflow-artifacts:/a/../{scene.experiment}"),
    ):
        for prefix in (API, PAGE):
            body = {"name": unique("experiment"), "artifact_location": location}
            scene.refused(scene.bob("POST", f"{prefix}/experiments/create", body), "location")
    chosen = scene.bob.post("/experiments/create", name=unique("experiment"), artifact_location="mlflow-artifacts:/team/place")
    if scene.login:
        scene.refused(chosen, "permissions go by", "Leave it out")
    else:
        path = f"team/place/{scene.bob.run(chosen.document['experiment_id'])}/artifacts"
        assert scene.bob.put(f"{path}/mine.txt", b"mine").status == 200
        assert scene.bob("GET", f"{ARTIFACTS}/{path}/mine.txt").body == b"mine"
    made = scene.bob.experiment()
    assert scene.bob("GET", f"{API}/experiments/get?experiment_id={made}").document["experiment"]["artifact_location"].endswith(f":/{made}")
    scene.untouched()


def test_a_version_has_a_source_of_this_server(scene: Scene) -> None:
    model, of_ana = unique("model"), f"runs:/{scene.run}/model"
    local = f"{store(scene) if scene.stack.embedded else '/srv'}/{scene.home}"
    scene.bob.post("/registered-models/create", name=model)
    sources = [
        *("s3://other/x", f"s3://mlflow/{scene.home}", f"{store(scene)}/{scene.home}", local, f"file://{local}", "/etc"),
        *("gs://bucket/x", "http://127.0.0.1:9/x", "mlflow-artifacts://127.0.0.1:9/x", "relative", "dummy-source", "models:/m-x"),
        *(f"mlflow-artifacts:/{scene.home}", f"mlflow-artifacts:/{scene.bobs_experiment}/../{scene.home}", of_ana),
        f"mlflow-artifacts:/{scene.bobs_experiment}/{scene.bobs_run}/artifacts/%2e%2e/%2e%2e/%2e%2e/{scene.home}",
    ]
    for source, run in itertools.product(sources, (None, scene.bobs_run, scene.run)):
        if not scene.login and run == scene.run and source in {f"mlflow-artifacts:/{scene.home}", of_ana}:
            continue
        reply = scene.bob.post("/model-versions/create", name=model, source=source, **({"run_id": run} if run else {}))
        assert reply.status in {400, 403}, (source, run, reply)
        assert SECRET not in reply.body
    own = f"mlflow-artifacts:/{scene.bobs_experiment}/{scene.bobs_run}/artifacts"
    assert scene.bob.put(f"{scene.bobs_experiment}/{scene.bobs_run}/artifacts/model.txt", b"mine").status == 200
    made = scene.bob.post("/model-versions/create", name=model, source=own, run_id=scene.bobs_run)
    version = made.document["model_version"]["version"]
    read = scene.bob("GET", f"/model-versions/get-artifact?path=model.txt&version={version}&name={model.replace(' ', '%20')}")
    assert read.body == b"mine"
    copied = scene.bob.post("/model-versions/create", name=model, source=f"models:/{model}/{version}")
    assert copied.status == 200
    # It makes the source unreadable, and is no location that a client names.
    deleted = scene.bob("DELETE", f"{API}/model-versions/delete", {"name": model, "version": version})
    assert deleted.status == 200, deleted
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "Say {{ it }}"}]
    scene.bob.post("/registered-models/create", name=f"{model} prompt", tags=prompt[:1])
    assert scene.bob.post("/model-versions/create", name=f"{model} prompt", source="dummy-source", tags=prompt).status == 200


def test_a_trace_has_its_artifacts_where_the_server_puts_them(scene: Scene) -> None:
    bob, traces, old = scene.bob, "/api/3.0/mlflow/traces", f"{API}/traces"
    at = {"X-Mlflow-Experiment-Id": scene.bobs_experiment}
    first = f"tr-{uuid.uuid4().hex}"
    assert bob("POST", traces, trace_of(scene, first)).status == 200
    second = bob("POST", old, {"experiment_id": scene.bobs_experiment, "timestamp_ms": 1}).document["trace_info"]["request_id"]
    places = (f"mlflow-artifacts:/{scene.home}", f"{store(scene)}/{scene.home}", "s3://other/x", "file:///etc")
    for location, key in itertools.product(places, (TAG, "mlflow.trace.archiveLocation")):
        tag, tags = {"key": key, "value": location}, [{"key": key, "value": location}]
        for trace in (first, second):
            scene.refused(bob("PATCH", f"{traces}/{trace}/tags", tag), "trace")
            scene.refused(bob("PATCH", f"{old}/{trace}/tags", tag), "trace")
        scene.refused(bob("POST", traces, trace_of(scene, f"tr-{uuid.uuid4().hex}", **{key: location})), "trace")
        scene.refused(bob("POST", old, {"experiment_id": scene.bobs_experiment, "timestamp_ms": 1, "tags": tags}), "trace")
        scene.refused(bob("PATCH", f"{old}/{second}", {"timestamp_ms": 5, "status": "OK", "tags": tags}), "trace")
        scene.refused(bob("POST", "/v1/traces", spans_of(uuid.uuid4().hex, key, location), **at), "trace")
    # Its own place, as a client sends it back with all the other tags.
    own = f"mlflow-artifacts:/{scene.bobs_experiment}/traces/{first}/artifacts"
    assert bob("PATCH", f"{traces}/{first}/tags", {"key": TAG, "value": own}).status == 200
    for trace in (f"../../{scene.home.removesuffix('/artifacts')}", "a/b", "..", "."):
        scene.refused(bob("POST", traces, trace_of(scene, trace)), "trace")
    for trace, path in itertools.product((first, second), (None, ATTACHMENT)):
        query = f"?request_id={trace}" + (f"&path={path}" if path else "")
        read = bob("GET", f"{PAGE}/get-trace-artifact{query}")
        assert SECRET not in read.body
        assert read.status != 200 or not path


def test_what_an_earlier_server_took_is_not_opened(scene: Scene) -> None:
    """Rows as MLflow's own server writes them for whoever names such locations."""
    stack, bob = scene.stack, scene.bob
    outside = Path("/tmp") / f"outside-{uuid.uuid4().hex}"
    stack.python(f"import pathlib; at = pathlib.Path({str(outside)!r}); at.mkdir(); (at / 'secret.txt').write_bytes({SECRET!r})")
    model = bob("POST", f"{API}/logged-models", {"experiment_id": scene.bobs_experiment, "name": "model"}).document["model"]["info"][
        "model_id"
    ]
    bob("PATCH", f"{API}/logged-models/{model}", {"model_id": model, "status": 2})
    name, trace = f"old-{uuid.uuid4().hex}", f"tr-{uuid.uuid4().hex}"
    bob.post("/registered-models/create", name=name)
    made = bob.post("/model-versions/create", name=name, source=f"runs:/{scene.bobs_run}/x", run_id=scene.bobs_run)
    assert made.status == 200, made
    assert bob("POST", "/api/3.0/mlflow/traces", trace_of(scene, trace)).status == 200
    before = stack.query("SELECT artifact_uri FROM runs WHERE run_uuid = %s", scene.bobs_run)[0][0]
    try:
        for location in (str(outside), f"file://{outside}", "s3://other/x", "gs://bucket/x", "ftp://127.0.0.1:9/x", "relative"):
            stack.query("UPDATE runs SET artifact_uri = %s WHERE run_uuid = %s", location, scene.bobs_run)
            stack.query("UPDATE logged_models SET artifact_location = %s WHERE model_id = %s", location, model)
            stack.query("UPDATE model_versions SET source = %s, storage_location = %s WHERE name = %s", location, location, name)
            stack.query("UPDATE trace_tags SET value = %s WHERE request_id = %s AND key = %s", location, trace, TAG)
            for path in (
                f"/get-artifact?run_id={scene.bobs_run}&path=secret.txt",
                f"{API}/artifacts/list?run_id={scene.bobs_run}",
                f"/model-versions/get-artifact?name={name}&version=1&path=secret.txt",
                f"{PAGE}/logged-models/{model}/artifacts/files?artifact_file_path=secret.txt",
                f"{API}/logged-models/{model}/artifacts/directories",
                f"{PAGE}/get-trace-artifact?request_id={trace}&path={ATTACHMENT}",
            ):
                scene.refused(bob("GET", path), "artifact")
            scene.refused(bob("POST", f"{PAGE}/upload-artifact?run_uuid={scene.bobs_run}&path=planted.txt", b"x"), "artifact")
        left = stack.python(f"import os; print(os.listdir({str(outside)!r}), os.path.exists('relative'))")
        assert left.strip() == "['secret.txt'] False"
    finally:
        stack.query("UPDATE runs SET artifact_uri = %s WHERE run_uuid = %s", before, scene.bobs_run)
        stack.python(f"import shutil; shutil.rmtree({str(outside)!r})")


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_a_path_is_what_the_permission_covers(scene: Scene) -> None:
    bob, ajax = scene.bob, ARTIFACTS.replace("/api", "/ajax-api")
    for prefix in ("", "./", "%2e/", "%252e/", "x/%2e%2e/", "workspaces/x/", "workspaces/../", "team/"):
        path = f"{prefix}{scene.home}"
        for base in (ARTIFACTS, ajax):
            scene.refused(bob("GET", f"{base}/{path}/secret.txt"))
            scene.refused(bob("GET", f"{base}?path={path}"))
            scene.refused(bob("PUT", f"{base}/{path}/planted.txt", b"planted", **{"Content-Type": "text/plain"}))
            scene.refused(bob("DELETE", f"{base}/{path}/secret.txt"))
            for route in ("create", "complete", "abort"):
                scene.refused(bob("POST", f"{base.replace('/artifacts', '')}/mpu/{route}/{path}/secret.txt", {"path": "x"}))
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
        body = json.dumps({"name": anas})
        scene.refused(bob("DELETE", f"{API}/registered-models/delete?name={bobs}", body, **{"Content-Type": kind}))
    assert scene.ana("GET", f"{API}/registered-models/get?name={anas}").status == 200
    # As MLflow's own client sends it: both names, and one run.
    assert bob("POST", f"{API}/runs/log-metric", {**metric, "run_id": own, "run_uuid": own}).status == 200
    scene.untouched()


@pytest.mark.parametrize("scene", WITH_LOGIN, indirect=True)
def test_an_experiment_is_the_same_in_every_spelling(scene: Scene) -> None:
    bob, ana, old = scene.bob, scene.ana, f"{API}/traces"
    trace = f"tr-{uuid.uuid4().hex}"
    assert ana("POST", "/api/3.0/mlflow/traces", trace_of(scene, trace, at=scene.experiment)).status == 200
    named = ana("GET", f"{API}/experiments/get?experiment_id={scene.experiment}").document["experiment"]["name"]
    scorer = {"experiment_id": scene.experiment, "name": "scorer", "serialized_scorer": "{}"}
    for spelling in (f"0{scene.experiment}", f"{scene.experiment}%20", f"%20{scene.experiment}", f"%2B{scene.experiment}"):
        text = unquote(spelling)
        for path in ("experiments/get?experiment_id=", "traces?experiment_ids="):
            reply = bob("GET", f"{API}/{path}{spelling}")
            assert reply.status == 403 or trace not in reply.body.decode(), (path, spelling, reply)
            assert path.startswith("traces") or reply.status == 403
        found = bob.post("/runs/search", experiment_ids=[text])
        assert scene.run not in found.body.decode(), found
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": text}}
        assert trace not in bob("POST", "/api/3.0/mlflow/traces/search", {"locations": [place]}).body.decode()
        query = f'{{ mlflowSearchRuns(input: {{experimentIds: ["{text}"]}}) {{ runs {{ info {{ runId }} }} }} }}'
        assert scene.run not in bob("POST", "/graphql", {"query": query}).body.decode()
        scene.refused(bob.post("/experiments/update", experiment_id=text, new_name="bob's"))
        scene.refused(bob.post("/experiments/set-experiment-tag", experiment_id=text, key="k", value="v"))
        scene.refused(bob.post("/runs/create", experiment_id=text))
        scene.refused(bob("POST", f"{API}/logged-models", {"experiment_id": text, "name": "model"}))
        scene.refused(bob("POST", "/api/3.0/mlflow/traces", trace_of(scene, f"tr-{uuid.uuid4().hex}", at=text)))
        scene.refused(bob("POST", old, {"experiment_id": text, "timestamp_ms": 1}))
        scene.refused(bob("POST", "/api/3.0/mlflow/scorers/register", {**scorer, "experiment_id": text}))
        spans = spans_of(uuid.uuid4().hex, "x", "y")
        scene.refused(bob("POST", "/v1/traces", spans, **{"X-Mlflow-Experiment-Id": text.strip()}))
    assert ana("GET", f"{API}/experiments/get?experiment_id={scene.experiment}").document["experiment"]["name"] == named
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
    scene.refused(scene.bob("DELETE", "/api/3.0/mlflow/scorers/delete", {"experiment_id": scene.experiment, "name": "judge", "version": 1}))
    assert scene.ana("GET", f"/api/3.0/mlflow/scorers/get?experiment_id={scene.experiment}&name=judge").status == 200


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
    scene.refused(bob("POST", "/v1/traces", changed, **{"X-Mlflow-Experiment-Id": scene.bobs_experiment}), "belongs elsewhere")
    # As a client does whose trace was begun by its spans.
    assert ana("POST", "/api/3.0/mlflow/traces", trace_of(scene, name, at=scene.experiment)).status == 200
    found = ana("GET", f"/api/3.0/mlflow/traces/{name}").document["trace"]["trace_info"]
    assert found["trace_location"]["mlflow_experiment"]["experiment_id"] == scene.experiment
    assert found["tags"]["note"] == "ana's"
    judged = {"assessment_name": "note", "source": {"source_type": "HUMAN", "source_id": "ana"}, "feedback": {"value": "good"}}
    made = ana("POST", f"/api/3.0/mlflow/traces/{name}/assessments", {"assessment": {**judged, "trace_id": name}})
    kept = made.document["assessment"]["assessment_id"]
    own = trace_of(scene, f"tr-{uuid.uuid4().hex}")
    assert bob("POST", "/api/3.0/mlflow/traces", own).status == 200
    times = {"create_time": "2026-01-01T00:00:00Z", "last_update_time": "2026-01-01T00:00:00Z", "valid": True}
    taken = {**judged, **times, "assessment_id": kept, "trace_id": own["trace"]["trace_info"]["trace_id"], "feedback": {"value": "bad"}}
    own["trace"]["trace_info"]["assessments"] = [taken]
    scene.refused(bob("POST", "/api/3.0/mlflow/traces", own), "belongs elsewhere")
    assert ana("GET", f"/api/3.0/mlflow/traces/{name}/assessments/{kept}").document["assessment"]["feedback"]["value"] == "good"
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
        scene.refused(bob("PATCH", f"/api/3.0/mlflow/traces/{ghost}/tags", {"key": TAG, "value": location}), "trace")
    assert SECRET not in bob("GET", f"{PAGE}/get-trace-artifact?request_id={ghost}&path={ATTACHMENT}").body
