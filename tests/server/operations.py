"""What one may try on the things of `reach.py`: each operation with the least permission that it takes."""

from __future__ import annotations

from tests.server.reach import API2, API3, ARTIFACTS, GIVEN, MODEL, Things

RANK = {
    "stranger": -1,
    "wrong": -1,
    "removed": -1,
    "outsider": 0,
    "reader": 1,
    "editor": 2,
    "owner": 3,
    "admin": 4,
}
NEEDED = {"READ": 1, "EDIT": 2, "MANAGE": 3, "admin": 4}


def graphql(query: str) -> tuple[str, str, object]:
    return "POST", "/graphql", {"query": query}


def operations(things: Things, role: str) -> dict[str, tuple[str, tuple[object, ...]]]:
    """What one may try: the least permission that it takes, and the call. Reads show what is hidden."""
    run, number = things.run, things.experiment
    folder = f"{number}/{run}/artifacts"
    tag = {"key": f"by-{role}", "value": "x"}
    binary = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": number}
    return {
        "get the experiment": ("READ", ("GET", f"{API2}/experiments/get?experiment_id={number}")),
        "find the experiment": ("READ", ("POST", f"{API2}/experiments/search", {"max_results": 100})),
        "get the run": ("READ", ("GET", f"{API2}/runs/get?run_id={run}")),
        "find the run": ("READ", ("POST", f"{API2}/runs/search", {"experiment_ids": [number]})),
        "list the run's artifacts": ("READ", ("GET", f"{API2}/artifacts/list?run_id={run}")),
        "download an artifact": ("READ", ("GET", f"{ARTIFACTS}/{things.artifact}")),
        "download it as the page does": ("READ", ("GET", f"/get-artifact?run_uuid={run}&path={GIVEN}")),
        "list the folder in the store": ("READ", ("GET", f"{ARTIFACTS}?path={folder}")),
        "download the version's file": (
            "READ",
            ("GET", f"/model-versions/get-artifact?name={MODEL}&version=1&path={GIVEN}"),
        ),
        "get the model": ("READ", ("GET", f"{API2}/registered-models/get?name={MODEL}")),
        "find the model": ("READ", ("GET", f"{API2}/registered-models/search?max_results=100")),
        "get the version": ("READ", ("GET", f"{API2}/model-versions/get?name={MODEL}&version=1")),
        "get the trace": ("READ", ("GET", f"{API3}/traces/{things.trace}")),
        "get the logged model": ("READ", ("GET", f"{API2}/logged-models/{things.logged_model}")),
        "get the dataset": ("READ", ("GET", f"{API3}/datasets/{things.dataset}")),
        "ask GraphQL for the run": (
            "READ",
            graphql(f'{{mlflowGetRun(input: {{runId: "{run}"}}) {{run {{data {{params {{key value}}}}}}}}}}'),
        ),
        "ask GraphQL for the experiment": (
            "READ",
            graphql(f'{{mlflowGetExperiment(input: {{experimentId: "{number}"}}) {{experiment {{name}}}}}}'),
        ),
        "tag the experiment": (
            "EDIT",
            ("POST", f"{API2}/experiments/set-experiment-tag", {"experiment_id": number, **tag}),
        ),
        "start a run": ("EDIT", ("POST", f"{API2}/runs/create", {"experiment_id": number, "start_time": 1})),
        "log a metric": (
            "EDIT",
            ("POST", f"{API2}/runs/log-metric", {"run_id": run, "key": role, "value": 1, "timestamp": 1}),
        ),
        "log a batch": ("EDIT", ("POST", f"{API2}/runs/log-batch", {"run_id": run, "tags": [tag]})),
        "upload an artifact": ("EDIT", ("PUT", f"{ARTIFACTS}/{folder}/by-{role}", b"x")),
        "upload it as the page does": (
            "EDIT",
            ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=page-{role}", b"x"),
        ),
        "tag the model": ("EDIT", ("POST", f"{API2}/registered-models/set-tag", {"name": MODEL, **tag})),
        "tag the version": (
            "EDIT",
            ("POST", f"{API2}/model-versions/set-tag", {"name": MODEL, "version": "1", **tag}),
        ),
        "send OpenTelemetry spans": ("EDIT", ("POST", "/v1/traces", b"", binary)),
        "delete an artifact": ("MANAGE", ("DELETE", f"{ARTIFACTS}/{folder}/by-nobody")),
        "delete the run": ("MANAGE", ("POST", f"{API2}/runs/delete", {"run_id": run})),
        "delete the experiment": (
            "MANAGE",
            ("POST", f"{API2}/experiments/delete", {"experiment_id": number}),
        ),
        "add a user": (
            "admin",
            ("POST", f"{API2}/users/create", {"username": f"by-{role}", "password": "long enough 1"}),
        ),
        "make an admin": (
            "admin",
            ("PATCH", f"{API2}/users/update-admin", {"username": "outsider", "is_admin": False}),
        ),
        "set another's password": (
            "admin",
            ("PATCH", f"{API2}/users/update-password", {"username": "admin", "password": "short"}),
        ),
        "grant oneself": (
            "admin",
            (
                "POST",
                f"{API3}/users/permissions/grant",
                {
                    "username": role,
                    "resource_type": "registered_model",
                    "resource_id": "other",
                    "permission": "READ",
                },
            ),
        ),
        "make a role": (
            "admin",
            ("POST", f"{API3}/roles/create", {"name": f"role-{role}", "workspace": "default"}),
        ),
        "see the webhooks": ("admin", ("GET", f"{API2}/webhooks")),
    }
