"""Whatever a client names by a location is inside the artifact store.

Ana has an experiment with a run; Bob may not see it, where there is a login, and tries what MLflow's routes
offer.
"""

from __future__ import annotations

import itertools
import json
import uuid
from pathlib import Path

from tests.server.deployed import unique
from tests.server.scene import (
    API,
    ARTIFACTS,
    ATTACHMENT,
    PAGE,
    SECRET,
    TAG,
    Scene,
    spans_of,
    store,
    trace_of,
)

# Fields of requests that name a place, and what becomes of them.
PLACES = {
    "CreateExperiment.artifact_location": "test_an_experiment_...",
    "CreateModelVersion.source": "test_a_version_...",
    # The path inside what a run or a model has, which MLflow looks at.
    **dict.fromkeys(("ListArtifacts.path", "ListLoggedModelArtifacts.artifact_directory_path"), "inside"),
    **dict.fromkeys(
        (f"{verb}MultipartUpload.path" for verb in ("Create", "Complete", "Abort")), "test_a_path_..."
    ),
    "CompleteMultipartUpload.parts.url": "an answer of the store, which MLflow does not ask for anything",
    **dict.fromkeys(
        ("CreatePresignedUploadUrl.path", "CreatePresignedDownloadUrl.path"),
        "inside; and no URL of the store is given",
    ),
    # Kept as text, and opened by clients alone.
    **dict.fromkeys(("CreateDataset.source", "LogInputs.datasets.dataset.source"), "text"),
    **dict.fromkeys(
        ("CreateAssessment.assessment.source", "UpdateAssessment.assessment.source"), "text: who judged"
    ),
    "StartTraceV3.trace.trace_info.assessments.source": "text: who judged",
    "StartTraceV3.trace.trace_info.trace_location": "an experiment's id",
    "SearchTracesV3.locations": "experiments' ids",
    # Where messages go to: an admin's, and off.
    **dict.fromkeys(("CreateWebhook.url", "UpdateWebhook.url"), "no place of artifacts"),
    "CreatePromptOptimizationJob.source_prompt_uri": "a prompt's name",
    **dict.fromkeys(
        (f"{verb}Workspace.default_artifact_root" for verb in ("Create", "Update")), "workspaces are off"
    ),
    **dict.fromkeys(
        (f"{verb}Workspace.trace_archival_config.location" for verb in ("Create", "Update")),
        "workspaces are off",
    ),
}


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
        *(
            "mlflow-artifacts:/",
            "mlflow-artifacts:/a/../x",
            "mlflow-artifacts:/a/%2e%2e/x",
            f"{store(scene)}/x",
        ),
        *(
            f"mlflow-artifacts:/{scene.experiment}",
            f"mlflow-artifacts:/{scene.home}",
            f"mlflow-artifacts:/a/../{scene.experiment}",
        ),
    ):
        for prefix in (API, PAGE):
            body = {"name": unique("experiment"), "artifact_location": location}
            scene.refused(scene.bob("POST", f"{prefix}/experiments/create", body), "location")
    chosen = scene.bob.post(
        "/experiments/create", name=unique("experiment"), artifact_location="mlflow-artifacts:/team/place"
    )
    if scene.login:
        scene.refused(chosen, "permissions go by", "Leave it out")
    else:
        path = f"team/place/{scene.bob.run(chosen.document['experiment_id'])}/artifacts"
        assert scene.bob.put(f"{path}/mine.txt", b"mine").status == 200
        assert scene.bob("GET", f"{ARTIFACTS}/{path}/mine.txt").body == b"mine"
    made = scene.bob.experiment()
    assert (
        scene.bob("GET", f"{API}/experiments/get?experiment_id={made}")
        .document["experiment"]["artifact_location"]
        .endswith(f":/{made}")
    )
    scene.untouched()


def test_a_version_has_a_source_of_this_server(scene: Scene) -> None:
    model, of_ana = unique("model"), f"runs:/{scene.run}/model"
    local = f"{store(scene) if scene.stack.embedded else '/srv'}/{scene.home}"
    scene.bob.post("/registered-models/create", name=model)
    sources = [
        *(
            "s3://other/x",
            f"s3://mlflow/{scene.home}",
            f"{store(scene)}/{scene.home}",
            local,
            f"file://{local}",
            "/etc",
        ),
        *(
            "gs://bucket/x",
            "http://127.0.0.1:9/x",
            "mlflow-artifacts://127.0.0.1:9/x",
            "relative",
            "dummy-source",
            "models:/m-x",
        ),
        *(
            f"mlflow-artifacts:/{scene.home}",
            f"mlflow-artifacts:/{scene.bobs_experiment}/../{scene.home}",
            of_ana,
        ),
        f"mlflow-artifacts:/{scene.bobs_experiment}/{scene.bobs_run}/artifacts/%2e%2e/%2e%2e/%2e%2e/{scene.home}",
    ]
    for source, run in itertools.product(sources, (None, scene.bobs_run, scene.run)):
        if not scene.login and run == scene.run and source in {f"mlflow-artifacts:/{scene.home}", of_ana}:
            continue
        reply = scene.bob.post(
            "/model-versions/create", name=model, source=source, **({"run_id": run} if run else {})
        )
        assert reply.status in {400, 403}, (source, run, reply)
        assert SECRET not in reply.body
    own = f"mlflow-artifacts:/{scene.bobs_experiment}/{scene.bobs_run}/artifacts"
    assert (
        scene.bob.put(f"{scene.bobs_experiment}/{scene.bobs_run}/artifacts/model.txt", b"mine").status == 200
    )
    made = scene.bob.post("/model-versions/create", name=model, source=own, run_id=scene.bobs_run)
    version = made.document["model_version"]["version"]
    read = scene.bob(
        "GET",
        f"/model-versions/get-artifact?path=model.txt&version={version}&name={model.replace(' ', '%20')}",
    )
    assert read.body == b"mine"
    copied = scene.bob.post("/model-versions/create", name=model, source=f"models:/{model}/{version}")
    assert copied.status == 200
    # It makes the source unreadable, and is no location that a client names.
    deleted = scene.bob("DELETE", f"{API}/model-versions/delete", {"name": model, "version": version})
    assert deleted.status == 200, deleted
    prompt = [
        {"key": "mlflow.prompt.is_prompt", "value": "true"},
        {"key": "mlflow.prompt.text", "value": "Say {{ it }}"},
    ]
    scene.bob.post("/registered-models/create", name=f"{model} prompt", tags=prompt[:1])
    assert (
        scene.bob.post(
            "/model-versions/create", name=f"{model} prompt", source="dummy-source", tags=prompt
        ).status
        == 200
    )


def test_a_trace_has_its_artifacts_where_the_server_puts_them(scene: Scene) -> None:
    bob, traces, old = scene.bob, "/api/3.0/mlflow/traces", f"{API}/traces"
    at = {"X-Mlflow-Experiment-Id": scene.bobs_experiment}
    first = f"tr-{uuid.uuid4().hex}"
    assert bob("POST", traces, trace_of(scene, first)).status == 200
    second = bob("POST", old, {"experiment_id": scene.bobs_experiment, "timestamp_ms": 1}).document[
        "trace_info"
    ]["request_id"]
    places = (
        f"mlflow-artifacts:/{scene.home}",
        f"{store(scene)}/{scene.home}",
        "s3://other/x",
        "file:///etc",
    )
    for location, key in itertools.product(places, (TAG, "mlflow.trace.archiveLocation")):
        tag, tags = {"key": key, "value": location}, [{"key": key, "value": location}]
        for trace in (first, second):
            scene.refused(bob("PATCH", f"{traces}/{trace}/tags", tag), "trace")
            scene.refused(bob("PATCH", f"{old}/{trace}/tags", tag), "trace")
        scene.refused(
            bob("POST", traces, trace_of(scene, f"tr-{uuid.uuid4().hex}", **{key: location})), "trace"
        )
        scene.refused(
            bob("POST", old, {"experiment_id": scene.bobs_experiment, "timestamp_ms": 1, "tags": tags}),
            "trace",
        )
        scene.refused(
            bob("PATCH", f"{old}/{second}", {"timestamp_ms": 5, "status": "OK", "tags": tags}), "trace"
        )
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
    stack.python(
        f"import pathlib; at = pathlib.Path({str(outside)!r}); at.mkdir(); "
        f"(at / 'secret.txt').write_bytes({SECRET!r})"
    )
    model = bob(
        "POST", f"{API}/logged-models", {"experiment_id": scene.bobs_experiment, "name": "model"}
    ).document["model"]["info"]["model_id"]
    bob("PATCH", f"{API}/logged-models/{model}", {"model_id": model, "status": 2})
    name, trace = f"old-{uuid.uuid4().hex}", f"tr-{uuid.uuid4().hex}"
    bob.post("/registered-models/create", name=name)
    made = bob.post(
        "/model-versions/create", name=name, source=f"runs:/{scene.bobs_run}/x", run_id=scene.bobs_run
    )
    assert made.status == 200, made
    assert bob("POST", "/api/3.0/mlflow/traces", trace_of(scene, trace)).status == 200
    before = stack.query("SELECT artifact_uri FROM runs WHERE run_uuid = %s", scene.bobs_run)[0][0]
    try:
        for location in (
            str(outside),
            f"file://{outside}",
            "s3://other/x",
            "gs://bucket/x",
            "ftp://127.0.0.1:9/x",
            "relative",
        ):
            stack.query("UPDATE runs SET artifact_uri = %s WHERE run_uuid = %s", location, scene.bobs_run)
            stack.query(
                "UPDATE logged_models SET artifact_location = %s WHERE model_id = %s", location, model
            )
            stack.query(
                "UPDATE model_versions SET source = %s, storage_location = %s WHERE name = %s",
                location,
                location,
                name,
            )
            stack.query(
                "UPDATE trace_tags SET value = %s WHERE request_id = %s AND key = %s", location, trace, TAG
            )
            for path in (
                f"/get-artifact?run_id={scene.bobs_run}&path=secret.txt",
                f"{API}/artifacts/list?run_id={scene.bobs_run}",
                f"/model-versions/get-artifact?name={name}&version=1&path=secret.txt",
                f"{PAGE}/logged-models/{model}/artifacts/files?artifact_file_path=secret.txt",
                f"{API}/logged-models/{model}/artifacts/directories",
                f"{PAGE}/get-trace-artifact?request_id={trace}&path={ATTACHMENT}",
            ):
                scene.refused(bob("GET", path), "artifact")
            scene.refused(
                bob("POST", f"{PAGE}/upload-artifact?run_uuid={scene.bobs_run}&path=planted.txt", b"x"),
                "artifact",
            )
        left = stack.python(f"import os; print(os.listdir({str(outside)!r}), os.path.exists('relative'))")
        assert left.strip() == "['secret.txt'] False"
    finally:
        stack.query("UPDATE runs SET artifact_uri = %s WHERE run_uuid = %s", before, scene.bobs_run)
        stack.python(f"import shutil; shutil.rmtree({str(outside)!r})")
