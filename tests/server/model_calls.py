"""More of the recorded set of REST calls: artifacts, the registry and logged models."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.server.calls import AJAX2, FILES, MISSING_RUN, NUL, UNICODE, V2, Call


def artifacts(call: Call, experiment: str, run: str) -> None:
    folder = f"{FILES}/{experiment}/{run}/artifacts"
    text = {"Content-Type": "text/plain"}
    call("PUT", f"{folder}/notes/a.txt", "some text", text)
    call("PUT", f"{folder}/notes/{quote('ü ☃+&?#%.txt')}", UNICODE, text)
    call("PUT", f"{folder}/empty.bin", b"")
    call("PUT", f"{folder}/bytes.bin", bytes(range(256)) * 4, {"Content-Type": "application/octet-stream"})
    for name in (
        "notes/a.txt",
        f"notes/{quote('ü ☃+&?#%.txt')}",
        "empty.bin",
        "notes",
        "none.txt",
        "notes/",
        "notes//a.txt",
    ):
        call("GET", f"{folder}/{name}")
    call("GET", f"{folder}/notes/a.txt", None, {"Range": "bytes=2-4"})
    call("HEAD", f"{folder}/notes/a.txt")
    call("POST", f"{folder}/notes/a.txt", {})
    call("PATCH", f"{folder}/notes/a.txt", {})
    for path in (
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/x",
        "%2Fetc%2Fpasswd",
        "a%00b",
        "file:%2f%2f%2fetc",
        "x%5c..%5cy",
        "%252e%252e%252fx",
    ):
        call("GET", f"{FILES}/{path}")
        call("PUT", f"{FILES}/{path}", "x", text)
    for path in (
        f"{experiment}/{run}/artifacts",
        f"{experiment}/{run}/artifacts/notes",
        f"{experiment}/none",
        "../..",
        "/etc",
        "a%00b",
    ):
        call("GET", f"{FILES}?path={path}")
    for query in (
        "",
        "&path=notes",
        "&path=none",
        "&path=../..",
        "&path=/etc",
        "&path=notes/a.txt",
        "&path=%00",
    ):
        call("GET", f"{V2}/artifacts/list?run_id={run}{query}")
    call("GET", f"{V2}/artifacts/list")
    call("GET", f"{V2}/artifacts/list?run_id={MISSING_RUN}")
    for query in ("path=notes/a.txt", "path=none", "path=../x", ""):
        call("GET", f"/get-artifact?run_uuid={run}&{query}")
    call("GET", "/get-artifact?path=x")
    upload = f"{AJAX2}/upload-artifact?run_uuid={run}&path="
    call("POST", f"{upload}ui/b.txt", "from the page", text)
    call("POST", f"{upload}../b.txt", "from the page", text)
    call("POST", f"{AJAX2}/upload-artifact?run_uuid={run}", "x", text)
    call("POST", f"{AJAX2}/upload-artifact?path=x", "x", text)
    call("DELETE", f"{folder}/notes/a.txt")
    call("DELETE", f"{folder}/notes/a.txt")
    call("DELETE", f"{FILES}/../../x")
    call("GET", f"{FILES}?path={experiment}/{run}/artifacts/notes")
    call("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{experiment}/big", {"path": "big", "num_parts": 0})


def registry(call: Call, run: str) -> None:
    def model(method: str, verb: str, **body: Any) -> Any:
        return call(method, f"{V2}/registered-models/{verb}", body)

    def version(method: str, verb: str, **body: Any) -> Any:
        return call(method, f"{V2}/model-versions/{verb}", body)

    for name in ("recorded-model", "recorded-model", "", None, 5, "a/b", "a:b", UNICODE, NUL, "x" * 257):
        model("POST", "create", name=name)
    model("POST", "create", name="recorded-tagged", tags=[{"key": "k", "value": "v"}], description=UNICODE)
    for name in ("recorded-model", "none", "", quote(UNICODE), "a%00b"):
        call("GET", f"{V2}/registered-models/get?name={name}")
    call("GET", f"{V2}/registered-models/get")
    source = f"runs:/{run}/model"
    version("POST", "create", name="recorded-model", source=source, run_id=run)
    version(
        "POST",
        "create",
        name="recorded-model",
        source=f"mlflow-artifacts:/{run}",
        run_id=run,
        tags=[{"key": "k", "value": "v"}],
    )
    for body in (
        {"name": "none", "source": source},
        {"name": "recorded-model"},
        {"source": source},
        {"name": "recorded-model", "source": "/etc/passwd"},
        {"name": "recorded-model", "source": "file:///etc"},
        {"name": "recorded-model", "source": "../x", "run_id": run},
        {"name": "recorded-model", "source": f"runs:/{run}/model", "run_id": run},
        {"name": "recorded-model", "source": "mlflow-artifacts:/a/../../b"},
        {"name": "recorded-model", "source": "models:/none/1"},
    ):
        call("POST", f"{V2}/model-versions/create", body)
    for query in (
        "name=recorded-model&version=1",
        "name=recorded-model&version=99",
        "name=recorded-model&version=x",
        "name=recorded-model",
        "version=1",
    ):
        call("GET", f"{V2}/model-versions/get?{query}")
        call("GET", f"{V2}/model-versions/get-download-uri?{query}")
    version("PATCH", "update", name="recorded-model", version="1", description="text")
    version("PATCH", "update", name="recorded-model", version="99", description="text")
    for stage in ("Staging", "production", "Nowhere", "", None):
        version(
            "POST",
            "transition-stage",
            name="recorded-model",
            version="1",
            stage=stage,
            archive_existing_versions=True,
        )
    model("POST", "get-latest-versions", name="recorded-model")
    model("POST", "get-latest-versions", name="recorded-model", stages=["Nowhere"])
    for alias, number in (
        ("best", "1"),
        ("best", "2"),
        ("v1", "1"),
        ("latest", "1"),
        ("", "1"),
        ("best", "99"),
        ("ali as", "1"),
    ):
        model("POST", "alias", name="recorded-model", alias=alias, version=number)
    for query in (
        "name=recorded-model&alias=best",
        "name=recorded-model&alias=none",
        "name=none&alias=best",
        "name=recorded-model",
    ):
        call("GET", f"{V2}/registered-models/alias?{query}")
    model("DELETE", "alias", name="recorded-model", alias="best")
    model("DELETE", "alias", name="recorded-model", alias="best")
    model("POST", "set-tag", name="recorded-model", key="k", value=UNICODE)
    model("POST", "set-tag", name="none", key="k", value="v")
    model("DELETE", "delete-tag", name="recorded-model", key="k")
    version("POST", "set-tag", name="recorded-model", version="1", key="k", value="v")
    version("POST", "set-tag", name="recorded-model", version="x", key="k", value="v")
    version("DELETE", "delete-tag", name="recorded-model", version="1", key="k")
    for query in (
        "filter=name='recorded-model'",
        "filter=name",
        "max_results=0",
        "max_results=1001",
        "filter=colour='x'",
        "page_token=bad",
    ):
        call("GET", f"{V2}/registered-models/search?{quote(query, safe='=&')}")
        call("GET", f"{V2}/model-versions/search?{quote(query, safe='=&')}")
    model("PATCH", "update", name="recorded-model", description="text")
    model("POST", "rename", name="recorded-model", new_name="recorded-tagged")
    model("POST", "rename", name="recorded-model", new_name="recorded-renamed")
    version("DELETE", "delete", name="recorded-renamed", version="2")
    version("DELETE", "delete", name="recorded-renamed", version="2")
    model("DELETE", "delete", name="recorded-renamed")
    model("DELETE", "delete", name="recorded-renamed")


def logged_models(call: Call, experiment: str) -> None:
    at = f"{V2}/logged-models"
    made = call(
        "POST", at, {"experiment_id": experiment, "name": "net", "params": [{"key": "p", "value": "1"}]}
    )["model"]["info"]["model_id"]
    body: dict[str, Any]
    for body in (
        {},
        {"experiment_id": "999999999", "name": "x"},
        {"experiment_id": experiment, "name": "a/b"},
        {"experiment_id": experiment, "name": ""},
    ):
        call("POST", at, body)
    for model_id in (made, "m-none", "%00", quote(UNICODE)):
        call("GET", f"{at}/{model_id}")
    call("PATCH", f"{at}/{made}", {"model_id": made, "status": "LOGGED_MODEL_READY"})
    call("PATCH", f"{at}/{made}", {"model_id": made, "status": "DONE"})
    call("PATCH", f"{at}/{made}/tags", {"tags": [{"key": "k", "value": "v"}]})
    call("DELETE", f"{at}/{made}/tags/k")
    call("DELETE", f"{at}/{made}/tags/k")
    call("POST", f"{at}/{made}/params", {"params": [{"key": "q", "value": "2"}]})
    call("GET", f"{at}/{made}/artifacts/directories")
    call("GET", f"{AJAX2}/logged-models/{made}/artifacts/files?artifact_file_path=none")
    call("GET", f"{AJAX2}/logged-models/{made}/artifacts/files")
    for body in (
        {},
        {"filter": "name = 'net'"},
        {"filter": "name"},
        {"max_results": 0},
        {"order_by": [{"field_name": "colour"}]},
        {"page_token": "x"},
    ):
        call("POST", f"{at}/search", {"experiment_ids": [experiment], **body})
    call("DELETE", f"{at}/{made}")
    call("GET", f"{at}/{made}")
