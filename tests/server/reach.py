"""Things of one user that others may not reach: made by the admin, marked, and looked at again afterwards."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.server.deployed import Peer, Reply
from tests.support.tls_client import basic

# In everything that only those with a permission may see; no call sends it.
HIDDEN = "zq7hidden"
MODEL, VERSION, GIVEN = "given-model", "1", "given.txt"
API2, API3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_PREFIX = re.compile(r"^/(?:ajax-)?api/\d\.\d/(?:mlflow/)?")


def family(path: str) -> str:
    """What a route is about: `runs`, `mlflow-artifacts`, `gateway`."""
    return _PREFIX.sub("", path).strip("/").split("/")[0] or "/"


@dataclass(frozen=True)
class Caller:
    """Somebody at the proxy."""

    name: str
    front: Peer
    login: tuple[str, str] | None = None

    def __call__(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return self.front(
            method,
            path,
            body,
            {**({"Authorization": basic(*self.login)} if self.login else {}), **(headers or {})},
        )

    def good(self, method: str, path: str, body: object = None) -> Any:
        answer = self(method, path, body)
        assert answer.status == 200, (self.name, method, path, answer.status, answer.body[:300])
        return answer.document if answer.body.strip() else {}


@dataclass
class Things:
    """One of each kind, by the ids that routes name them by."""

    experiment: str
    run: str
    trace: str
    logged_model: str
    dataset: str
    webhook: str

    @property
    def artifact(self) -> str:
        return f"{self.experiment}/{self.run}/artifacts/{GIVEN}"

    def in_paths(self) -> dict[str, str]:
        """What stands for the parameters of a route's path."""
        return {
            "artifact_path": self.artifact,
            "trace_id": self.trace,
            "request_id": self.trace,
            "model_id": self.logged_model,
            "dataset_id": self.dataset,
            "webhook_id": self.webhook,
            "name": MODEL,
            "version": VERSION,
        }

    def arguments(self) -> dict[str, Any]:
        """What a call may name in its query or body; each route takes what it knows of it."""
        return {
            "experiment_id": self.experiment,
            "experiment_ids": [self.experiment],
            "run_id": self.run,
            "run_uuid": self.run,
            "run_ids": [self.run],
            "name": MODEL,
            "version": VERSION,
            "key": "note",
            "value": "changed by somebody",
            "path": GIVEN,
            "artifact_path": GIVEN,
            "metric_key": "loss",
            "metric_keys": ["loss"],
            "trace_id": self.trace,
            "trace_ids": [self.trace],
            "request_id": self.trace,
            "request_ids": [self.trace],
            "model_id": self.logged_model,
            "dataset_id": self.dataset,
            "username": "reader",
            "max_results": 100,
            "max_timestamp_millis": 4_000_000_000_000,
            "locations": [
                {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.experiment}}
            ],
        }


def make_things(admin: Caller) -> Things:
    """Everything, marked."""
    tagged = {"name": f"{HIDDEN} experiment", "tags": [{"key": "a", "value": HIDDEN}]}
    experiment = admin.good("POST", f"{API2}/experiments/create", tagged)
    number = experiment["experiment_id"]
    run = admin.good(
        "POST", f"{API2}/runs/create", {"experiment_id": number, "run_name": HIDDEN, "start_time": 1}
    )["run"]["info"]["run_id"]
    admin.good("POST", f"{API2}/runs/log-parameter", {"run_id": run, "key": "rate", "value": HIDDEN})
    admin.good(
        "POST",
        f"{API2}/runs/log-metric",
        {"run_id": run, "key": "loss", "value": 0.5, "timestamp": 1, "step": 1},
    )
    for name in (GIVEN, f"{HIDDEN}.bin"):
        admin.good("PUT", f"{ARTIFACTS}/{number}/{run}/artifacts/{name}", HIDDEN.encode())
    admin.good("POST", f"{API2}/registered-models/create", {"name": MODEL, "description": HIDDEN})
    source = {
        "name": MODEL,
        "source": f"mlflow-artifacts:/{number}/{run}/artifacts",
        "run_id": run,
        "description": HIDDEN,
    }
    admin.good("POST", f"{API2}/model-versions/create", source)
    model = {
        "experiment_id": number,
        "name": "logged",
        "params": [{"key": "k", "value": HIDDEN}],
        "source_run_id": run,
    }
    logged = admin.good("POST", f"{API2}/logged-models", model)["model"]["info"]["model_id"]
    made = {"name": "given-dataset", "experiment_ids": [number], "tags": json.dumps({"a": HIDDEN})}
    dataset = admin.good("POST", f"{API3}/datasets/create", made)["dataset"]["dataset_id"]
    hook = {
        "name": f"{HIDDEN}-hook",
        "url": f"https://1.1.1.1/{HIDDEN}",
        "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
    }
    webhook = admin.good("POST", f"{API2}/webhooks", {**hook, "status": "DISABLED"})["webhook"]["webhook_id"]
    return Things(number, run, _trace(admin, number), logged, dataset, webhook)


def make_endpoint(admin: Caller) -> None:
    """A provider's key, a model and an endpoint of the gateway, marked."""
    key = {"secret_name": f"{HIDDEN}-key", "secret_value": {"api_key": f"sk-{HIDDEN}"}, "provider": "openai"}
    secret = admin.good("POST", f"{API3}/gateway/secrets/create", key)["secret"]["secret_id"]
    model = {"name": f"{HIDDEN}-model", "secret_id": secret, "provider": "openai", "model_name": "gpt-4o"}
    made = admin.good("POST", f"{API3}/gateway/model-definitions/create", model)["model_definition"][
        "model_definition_id"
    ]
    models = [{"model_definition_id": made, "linkage_type": "PRIMARY", "weight": 1.0}]
    admin.good(
        "POST", f"{API3}/gateway/endpoints/create", {"name": f"{HIDDEN}-endpoint", "model_configs": models}
    )


def _trace(admin: Caller, experiment: str) -> str:
    trace = f"tr-{time.time_ns():032x}"
    info = {
        "trace_id": trace,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": "2026-01-01T00:00:00Z",
        "execution_duration": "1s",
        "state": "OK",
        "request_preview": HIDDEN,
        "response_preview": HIDDEN,
        "tags": {"a": HIDDEN},
    }
    admin.good("POST", f"{API3}/traces", {"trace": {"trace_info": info}})
    return trace


def picture(admin: Caller, things: Things) -> dict[str, Any]:
    """All of it as it is now; what changes when somebody changed something, or users, roles or webhooks."""
    calls: Mapping[str, tuple[str, str, object]] = {
        "experiment": ("GET", f"{API2}/experiments/get?experiment_id={things.experiment}", None),
        "run": ("GET", f"{API2}/runs/get?run_id={things.run}", None),
        "artifacts": ("GET", f"{API2}/artifacts/list?run_id={things.run}", None),
        "model": ("GET", f"{API2}/registered-models/get?name={MODEL}", None),
        "version": ("GET", f"{API2}/model-versions/get?name={MODEL}&version={VERSION}", None),
        "trace": ("GET", f"{API3}/traces/{things.trace}", None),
        "logged model": ("GET", f"{API2}/logged-models/{things.logged_model}", None),
        "dataset": ("GET", f"{API3}/datasets/{things.dataset}", None),
        "webhooks": ("GET", f"{API2}/webhooks", None),
    }
    found = {name: admin.good(*call) for name, call in calls.items()}
    found["bytes"] = admin("GET", f"{ARTIFACTS}/{things.artifact}").body
    found["admins"] = [
        user["username"] for user in admin.good("GET", f"{API2}/users/list")["users"] if user["is_admin"]
    ]
    return found


def as_call(method: str, path: str, arguments: Mapping[str, Any]) -> tuple[str, str, object]:
    """The call with its arguments where that method has them."""
    if method == "GET":
        return method, f"{path}?{urlencode(arguments, doseq=True)}", None
    return method, path, arguments
