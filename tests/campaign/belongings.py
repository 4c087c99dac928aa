"""One of each kind of thing that somebody logged, by the words that calls name them by."""

from __future__ import annotations

import time

from tests.server.reach import API2, API3, ARTIFACTS, GIVEN, Caller


def belongings(owner: Caller, name: str, whose: str) -> dict[str, str]:
    """Make them anew, as earlier ones may have been deleted; the words begin with whose they are."""
    number = str(owner.good("POST", f"{API2}/experiments/create", {"name": name})["experiment_id"])
    run = owner.good(
        "POST", f"{API2}/runs/create", {"experiment_id": number, "run_name": name, "start_time": 1}
    )["run"]["info"]["run_id"]
    owner.good("POST", f"{API2}/runs/log-parameter", {"run_id": run, "key": "rate", "value": "x"})
    owner.good(
        "POST",
        f"{API2}/runs/log-metric",
        {"run_id": run, "key": "loss", "value": 0.5, "timestamp": 1, "step": 1},
    )
    owner.good("PUT", f"{ARTIFACTS}/{number}/{run}/artifacts/{GIVEN}", b"given")
    owner.good("POST", f"{API2}/registered-models/create", {"name": name})
    source = {"name": name, "source": f"mlflow-artifacts:/{number}/{run}/artifacts", "run_id": run}
    owner.good("POST", f"{API2}/model-versions/create", source)
    model = {"experiment_id": number, "name": "logged", "source_run_id": run}
    logged = owner.good("POST", f"{API2}/logged-models", model)["model"]["info"]["model_id"]
    made = {"name": name, "experiment_ids": [number]}
    dataset = owner.good("POST", f"{API3}/datasets/create", made)["dataset"]["dataset_id"]
    queue = {"experiment_id": number, "name": name, "queue_type": "CUSTOM"}
    owner.good(
        "POST", f"{API3}/scorers/register", {"experiment_id": number, "name": name, "serialized_scorer": "{}"}
    )
    owner.good("POST", f"{API3}/mcp-servers", {"name": f"io.example/{name}"})
    issue = {"experiment_id": number, "name": name, "description": "x"}
    return {
        f"{whose}_EXPERIMENT": number,
        f"{whose}_RUN": run,
        f"{whose}_NAME": name,
        f"{whose}_LOGGED_MODEL": logged,
        f"{whose}_DATASET": dataset,
        f"{whose}_QUEUE": owner.good("POST", f"{API3}/review-queues/create", queue)["review_queue"][
            "queue_id"
        ],
        f"{whose}_ISSUE": owner.good("POST", f"{API3}/issues", issue)["issue"]["issue_id"],
        f"{whose}_TRACE": _trace(owner, number),
    }


def _trace(owner: Caller, experiment: str) -> str:
    trace = f"tr-{time.time_ns():032x}"
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {
        "trace_id": trace,
        "trace_location": place,
        "request_time": "2026-01-01T00:00:00Z",
        "execution_duration": "1s",
        "state": "OK",
    }
    owner.good("POST", f"{API3}/traces", {"trace": {"trace_info": info}})
    return trace
