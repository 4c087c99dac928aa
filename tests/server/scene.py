"""Two people at one server: Ana has a run that holds a secret, and Bob tries what MLflow's routes offer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from tests.server.deployed import Deployed, Reply, unique
from tests.support.scheduling import RUNTIMES

API = "/api/2.0/mlflow"
PAGE = "/ajax-api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
SECRET = b"what only Ana may read"
# MLflow wants a UUID as the name of a trace's attachment.
ATTACHMENT = str(uuid.uuid4())
TAG = "mlflow.artifactLocation"
WITH_LOGIN = [pytest.param((runtime, True), id=f"{runtime}-login") for runtime in RUNTIMES]
OPEN = [pytest.param((runtime, False), id=f"{runtime}-open") for runtime in RUNTIMES]


@dataclass
class Person:
    """A client with a login, or with none where none is asked for."""

    stack: Deployed
    headers: dict[str, str]

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        return self.stack.front(method, path, body, {**self.headers, **headers})

    def post(self, path: str, **body: object) -> Reply:
        return self("POST", API + path, body)

    def put(self, path: str, content: bytes = b"planted") -> Reply:
        return self("PUT", f"{ARTIFACTS}/{path}", content, **{"Content-Type": "text/plain"})

    def experiment(self, **more: object) -> str:
        return str(
            self.post("/experiments/create", name=unique("experiment"), **more).document["experiment_id"]
        )

    def run(self, experiment: str) -> str:
        return str(self.post("/runs/create", experiment_id=experiment).document["run"]["info"]["run_id"])


@dataclass
class Scene:
    """A stack with Ana's run, which holds the secret, and Bob's."""

    stack: Deployed
    login: bool
    admin: Person
    ana: Person
    bob: Person
    experiment: str
    run: str
    bobs_experiment: str
    bobs_run: str

    @property
    def home(self) -> str:
        """The path of Ana's artifacts in the store."""
        return f"{self.experiment}/{self.run}/artifacts"

    def refused(self, reply: Reply, *words: str) -> None:
        """The answer is a refusal in words."""
        assert reply.status in {400, 403, 404}, reply
        assert SECRET not in reply.body
        for word in words:
            assert word in reply.body.decode(), reply

    def untouched(self) -> None:
        """Ana's run has what Ana put there, and nothing else."""
        listed = self.ana("GET", f"{API}/artifacts/list?run_id={self.run}").document["files"]
        assert [file["path"] for file in listed] == ["attachments", "secret.txt", "traces.json"]
        assert self.ana("GET", f"{ARTIFACTS}/{self.home}/secret.txt").body == SECRET


def store(scene: Scene) -> str:
    """The artifact store as the server has it."""
    return f"{scene.stack.program.stack}/data/artifacts" if scene.stack.embedded else "s3://mlflow"


def trace_of(scene: Scene, trace: str, at: str = "", **tags: str) -> dict[str, Any]:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": at or scene.bobs_experiment}}
    known = {
        "trace_id": trace,
        "trace_location": place,
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
        "tags": tags,
    }
    return {"trace": {"trace_info": known}}


def spans_of(trace: str, key: str, location: str) -> dict[str, Any]:
    tag = {"key": f"mlflow.traceTag.{key}", "value": {"stringValue": location}}
    times = {"startTimeUnixNano": "1000000", "endTimeUnixNano": "2000000"}
    span = {"traceId": trace, "spanId": "0123456789abcdef", "name": "span", **times, "attributes": [tag]}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
