"""One client does not take what belongs to all: the front door's memory, a worker's, the threads, others' artifacts."""

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
from tests.server.greedy import others, peak_here_mb, peak_mb, proxy_pid, settled, stalled

BROWSERS = 16
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
PROTOBUF = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
# What a body of 20 MB, the largest that is taken, may cost a worker for as long as it is looked at.
WORKER_MB = 150
# Half of its 256 MB.
FRONT_DOOR_MB = 128


@pytest.fixture(scope="module")
def script(deployed: Deployed) -> str:
    """The path of the page's largest script."""
    index = deployed.front("GET", "/").body.decode()
    found = re.findall(r'src="(?:\./)?(static-files/static/js/main\.[^"]+\.js)"', index)
    assert len(found) == 1, index
    return f"/{found[0]}"


@pytest.mark.parametrize("coding", ["zstd", "gzip", "identity"])
def test_many_browsers_at_once_leave_the_front_door_its_memory(deployed: Deployed, script: str, coding: str) -> None:
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
    print(f"\n{deployed.runtime}: {4 * BROWSERS} times {size:,} bytes ({coding}); the front door had {peak:.0f} MB at most")


def test_who_reads_the_page_slowly_keeps_nobody_waiting(deployed: Deployed, script: str) -> None:
    request = f"GET {script} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: identity\r\n\r\n".encode()
    (pid,) = deployed.processes().asgi
    others(deployed, 1)
    calm, kept = [], []
    # In turns, so that the machine's moods meet both.
    for _ in range(3):
        calm.append(others(deployed, 2))
        with stalled(deployed, 64, request):
            settled(deployed, pid)
            kept.append(others(deployed, 2))
    assert sum(kept) > sum(calm) / 2
    print(f"\n{deployed.runtime}: others {calm} calls/s, and {kept} beside 64 who do not read what they asked for")


def packed(size: int) -> bytes:
    """So many zeros, packed to a thousandth."""
    return gzip.compress(b"\0" * size, 1)


GREEDY: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "traces, packed": ("POST", "/v1/traces", packed(1_000_000_000), {**PROTOBUF, "Content-Encoding": "gzip"}),
    "traces as JSON, packed": ("POST", "/v1/traces", packed(200_000_000), {"Content-Encoding": "gzip", "x-mlflow-experiment-id": "0"}),
    "traces": ("POST", "/v1/traces", b"\0" * 100_000_000, PROTOBUF),
    "a call that the event loop hands on": ("DELETE", f"{ARTIFACTS}/x", b"[" * 100_000_000, {}),
    "a call of the gateway": ("POST", "/gateway/x/mlflow/invocations", b"[" * 100_000_000, {}),
    "a call of a threaded worker": ("POST", "/api/2.0/mlflow/runs/log-batch", b"[" * 100_000_000, {}),
    "many values in a small body": ("POST", "/api/2.0/mlflow/runs/log-batch", b"[" + b"[]," * 6_600_000 + b"0]", {}),
    "many values for the event loop": ("POST", "/gateway/x/mlflow/invocations", b"[" + b"[]," * 6_600_000 + b"0]", {}),
}


@pytest.mark.parametrize("case", GREEDY)
def test_a_body_that_would_take_a_workers_memory_is_refused(deployed: Deployed, case: str) -> None:
    method, path, body, headers = GREEDY[case]
    before = deployed.processes()
    peaks = {pid: peak_mb(deployed, pid) for pid in before.workers}
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: deployed.front(method, path, body, headers), range(4)))
    assert {reply.status for reply in replies} == {413}, replies
    for reply in replies:
        assert "several requests" in reply.document["message"]
    assert deployed.processes() == before
    grown = {pid: peak_mb(deployed, pid) - peak for pid, peak in peaks.items()}
    assert max(grown.values()) < WORKER_MB
    print(f"\n{deployed.runtime}, {case}: {len(body):,} bytes four times at once; a worker's peak grew by {max(grown.values()):.0f} MB")


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
    wide = ["", ".", "./", "%2e", "%252e", "/", "./.", "x/..", experiment, f"{experiment}/", f"{experiment}/.", f"{experiment}/models"]
    wide += [f"{experiment}/{run}", f"{experiment}/{run}/artifacts/..", f"{experiment}/{run}/artifacts/%2e%2e", f"{experiment}%2f{run}"]
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
