"""No client takes what belongs to all: the proxy's memory, a worker's, the threads, others' artifacts."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

from tests.server.deployed import Deployed, Reply, unique
from tests.server.greedy import SEARCH, others, peak_here_mb, peak_mb, proxy_pid, settled, stalled

BROWSERS = 16
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
PROTOBUF = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
# What a body of 20 MB, the largest that is taken, may cost a worker for as long as it is looked at.
WORKER_MB = 150
# Half of its 256 MB.
FRONT_DOOR_MB = 128
# Each connection with a body costs it a tenth of a megabyte.
FRONT_DOOR_MB_OF_MANY = 200


@pytest.fixture(scope="module")
def script(deployed: Deployed) -> str:
    """The path of the page's largest script."""
    index = deployed.front("GET", "/").body.decode()
    found = re.findall(r'src="(?:\./)?(static-files/static/js/main\.[^"]+\.js)"', index)
    assert len(found) == 1, index
    return f"/{found[0]}"


@pytest.mark.parametrize("coding", ["zstd", "gzip", "identity"])
def test_many_browsers_at_once_leave_the_proxy_its_memory(
    deployed: Deployed, script: str, coding: str
) -> None:
    pid = proxy_pid(deployed)

    def fetch(_: int) -> tuple[int, int]:
        reply = deployed.front("GET", script, headers={"Accept-Encoding": coding})
        assert reply.headers.get("content-encoding", "identity") == coding
        return reply.status, len(reply.body)

    with ThreadPoolExecutor(BROWSERS) as pool:
        answers = Counter(pool.map(fetch, range(4 * BROWSERS)))
    ((status, size),) = answers
    assert status == 200
    peak = peak_here_mb(pid)
    assert proxy_pid(deployed) == pid
    assert peak < FRONT_DOOR_MB
    print(
        f"\n{deployed.runtime}: {4 * BROWSERS} times {size:,} bytes ({coding}); "
        f"the proxy had {peak:.0f} MB at most"
    )


def begun(method: str, path: str, sent: int = 0, told: int = 0) -> bytes:
    """A request whose body is larger than what comes of it."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: identity\r\n"
        f"Content-Length: {told}\r\n\r\n"
    )
    return head.encode() + b" " * sent


@pytest.fixture(scope="module")
def large_run(deployed: Deployed) -> str:
    """A run that takes 750 KB to tell."""
    made = deployed.front("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).document
    run = str(made["run"]["info"]["run_id"])
    tags = [{"key": f"tag {number}", "value": "x" * 7500} for number in range(100)]
    assert (
        deployed.front("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": run, "tags": tags}).status == 200
    )
    return run


@pytest.mark.parametrize("what", ["page", "answer", "small body", "large body", "upload"])
def test_who_reads_or_sends_slowly_keeps_nobody_waiting(
    deployed: Deployed, script: str, large_run: str, what: str
) -> None:
    log_batch = "/api/2.0/mlflow/runs/log-batch"
    request = {
        "page": begun("GET", script),
        "answer": begun("GET", f"/api/2.0/mlflow/runs/get?run_id={large_run}"),
        "small body": begun("POST", log_batch, sent=100_000, told=200_000),
        "large body": begun("POST", log_batch, sent=1_000_000, told=2_000_000),
        "upload": begun("PUT", f"{ARTIFACTS}/0/{large_run}/artifacts/x", sent=1_000_000, told=2_000_000),
    }[what]
    before = deployed.processes()
    others(deployed, 1)
    calm, kept = [], []
    # In turns, so that the machine's moods meet both.
    for _ in range(3):
        calm.append(others(deployed, 1))
        with stalled(deployed, 64, request):
            settled(deployed, before.workers)
            kept.append(others(deployed, 1))
    assert sum(kept) > sum(calm) / 2
    assert deployed.processes() == before
    print(f"\n{deployed.runtime}: others {calm} calls/s, and {kept} beside 64 who stall ({what})")


def test_a_thousand_who_stall_leave_the_memory_to_others(deployed: Deployed) -> None:
    """Of bodies that each are small there can be many: together they are one client's share."""
    before, door = deployed.processes(), proxy_pid(deployed)
    with stalled(deployed, 1000, begun("POST", "/api/2.0/mlflow/runs/log-batch", sent=250_000, told=255_000)):
        settled(deployed, before.workers)
        assert deployed.front("POST", SEARCH, {"max_results": 1}).status == 200
        peaks = [peak_mb(deployed, pid) for pid in before.workers]
    assert (deployed.processes(), proxy_pid(deployed)) == (before, door)
    assert peak_here_mb(door) < FRONT_DOOR_MB_OF_MANY
    print(f"\n{deployed.runtime}: the workers' peaks {peaks} MB, the proxy's {peak_here_mb(door):.0f}")


def packed(size: int) -> bytes:
    """So many zeros, packed to a thousandth."""
    return gzip.compress(b"\0" * size, 1)


GREEDY: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "traces, packed": ("POST", "/v1/traces", packed(1_000_000_000), {**PROTOBUF, "Content-Encoding": "gzip"}),
    "traces as JSON, packed": (
        "POST",
        "/v1/traces",
        packed(200_000_000),
        {"Content-Encoding": "gzip", "x-mlflow-experiment-id": "0"},
    ),
    "traces": ("POST", "/v1/traces", b"\0" * 100_000_000, PROTOBUF),
    "a call that the event loop hands on": ("DELETE", f"{ARTIFACTS}/x", b"[" * 100_000_000, {}),
    "a call of the gateway": ("POST", "/gateway/x/mlflow/invocations", b"[" * 100_000_000, {}),
    "a call of a threaded worker": ("POST", "/api/2.0/mlflow/runs/log-batch", b"[" * 100_000_000, {}),
    "many values in a small body": (
        "POST",
        "/api/2.0/mlflow/runs/log-batch",
        b"[" + b"[]," * 6_600_000 + b"0]",
        {},
    ),
    "many values for the event loop": (
        "POST",
        "/gateway/x/mlflow/invocations",
        b"[" + b"[]," * 6_600_000 + b"0]",
        {},
    ),
}


@pytest.mark.parametrize("case", GREEDY)
def test_a_body_that_would_take_a_workers_memory_is_refused(deployed: Deployed, case: str) -> None:
    method, path, body, headers = GREEDY[case]
    before = deployed.processes()
    peaks = {pid: peak_mb(deployed, pid) for pid in before.workers}
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: deployed.front(method, path, body, headers), range(4)))
    refused = [reply for reply in replies if reply.status == 413]
    assert refused, replies
    for reply in refused:
        assert "several requests" in reply.document["message"]
    # Four of the largest are more than one client may have under way.
    assert {reply.headers.get("retry-after") for reply in replies if reply not in refused} <= {"1"}, replies
    assert deployed.processes() == before
    grown = {pid: peak_mb(deployed, pid) - peak for pid, peak in peaks.items()}
    assert max(grown.values()) < WORKER_MB
    print(
        f"\n{deployed.runtime}, {case}: {len(body):,} bytes four times at once; "
        f"a worker's peak grew by {max(grown.values()):.0f} MB"
    )


def test_a_bomb_cut_off_is_refused_too(deployed: Deployed) -> None:
    body = packed(1_000_000_000)[:-1000]
    assert deployed.front("POST", "/v1/traces", body, {**PROTOBUF, "Content-Encoding": "gzip"}).status == 413
    small = packed(1_000_000)[:-10]
    assert deployed.front("POST", "/v1/traces", small, {**PROTOBUF, "Content-Encoding": "gzip"}).status == 400


def test_a_large_body_within_the_limit_is_taken(deployed: Deployed, client: Any, experiment: str) -> None:
    run = client.create_run(experiment).info.run_id
    profile = json.dumps({"histogram": list(range(200_000))})
    dataset = {"name": "large", "digest": "d", "source_type": "local", "source": "{}", "profile": profile}
    body = {"run_id": run, "datasets": [{"dataset": dataset, "tags": []}]}
    assert len(json.dumps(body)) > 1_000_000
    for path in ("/api/2.0/mlflow/runs/log-inputs", "/ajax-api/2.0/mlflow/runs/log-inputs"):
        reply = deployed.front("POST", path, body)
        assert reply.status == 200, reply.body
    assert client.get_run(run).inputs.dataset_inputs[0].dataset.profile == profile


@pytest.fixture
def artifact(deployed: Deployed, client: Any, experiment: str) -> str:
    """The path of an artifact of a run."""
    run = client.create_run(experiment, run_name=unique("kept")).info.run_id
    client.log_text(run, "kept", "folder/kept.txt")
    return f"{experiment}/{run}/artifacts/folder/kept.txt"


def kept(deployed: Deployed, artifact: str) -> Reply:
    return deployed.front("GET", f"{ARTIFACTS}/{artifact}")


def test_no_call_deletes_the_artifacts_of_several_runs(deployed: Deployed, artifact: str) -> None:
    experiment, run, *_ = artifact.split("/")
    wide = [
        "",
        ".",
        "./",
        "%2e",
        "%252e",
        "/",
        "./.",
        "x/..",
        experiment,
        f"{experiment}/",
        f"{experiment}/.",
        f"{experiment}/models",
    ]
    wide += [
        f"{experiment}/{run}",
        f"{experiment}/{run}/artifacts/..",
        f"{experiment}/{run}/artifacts/%2e%2e",
        f"{experiment}%2f{run}",
    ]
    for prefix in ("/api", "/ajax-api", "//api", "/%61pi", "/API"):
        for path in wide:
            for peer in (deployed.front, deployed.asgi):
                status = peer("DELETE", f"{prefix}/2.0/mlflow-artifacts/artifacts/{path}").status
                assert 400 <= status < 500, (prefix, path, status)
    assert kept(deployed, artifact).body == b"kept"
    refused = deployed.front("DELETE", f"{ARTIFACTS}/.")
    assert (refused.status, refused.document["error_code"]) == (403, "PERMISSION_DENIED")
    assert "one run, model or trace" in refused.document["message"]


def test_a_runs_own_artifacts_are_deleted(client: Any, artifact: str) -> None:
    experiment, run, *_ = artifact.split("/")
    assert [item.path for item in client.list_artifacts(run)] == ["folder"]
    repository = MlflowArtifactsRepository(f"mlflow-artifacts:/{experiment}/{run}/artifacts")
    repository.delete_artifacts("folder")
    assert client.list_artifacts(run) == []
