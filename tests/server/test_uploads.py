"""Large files through the proxy: several at once in the default memory limit; a full temporary volume."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.deployed import Deployed, Peer, Reply, eventually
from tests.support.installed import Program
from tests.support.ports import free_port
from tests.support.s3_server import KEY, SECRET, S3Server

MB = 1 << 20
FOUR = 4
FILES = "/api/2.0/mlflow-artifacts/artifacts"
# As those of a run, which alone are deleted through the server.
OWNED = f"{'0' * 32}/artifacts"
# A full volume must show before the whole file could be held in memory.
SMALL_VOLUME = 32 * MB


class Content:
    """So many megabytes that no compression makes smaller; each block is another, and can be made again."""

    def __init__(self, megabytes: int, seed: int) -> None:
        self.megabytes = megabytes
        self._noise = os.urandom(MB - 16)
        self._seed = seed

    def block(self, number: int) -> bytes:
        return self._seed.to_bytes(8, "big") + number.to_bytes(8, "big") + self._noise

    def __iter__(self) -> Iterator[bytes]:
        return (self.block(number) for number in range(self.megabytes))


def upload(peer: Peer, path: str, content: Content) -> Reply:
    """The answer to the file as one body, made while it is sent."""
    connection = peer.connection(timeout=300)
    try:
        headers = {
            "Host": "127.0.0.1",
            "Content-Length": str(content.megabytes * MB),
            "Content-Type": "application/octet-stream",
        }
        try:
            connection.request("PUT", path, iter(content), headers)
        except (BrokenPipeError, ConnectionResetError) as error:
            # It may have been answered before its end.
            print(f"the upload ended early: {error}")
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def comes_back(peer: Peer, path: str, content: Content) -> bool:
    """Whether the download has the very bytes that were sent, and no more."""
    connection = peer.connection(timeout=300)
    try:
        connection.request("GET", path, headers={"Host": "127.0.0.1"})
        answer = connection.getresponse()
        same = answer.status == 200 and all(answer.read(MB) == block for block in content)
        return same and answer.read(1) == b""
    finally:
        connection.close()


def left_behind(deployed: Deployed) -> dict[str, int]:
    """Temporary files with bytes; MLflow keeps an empty lock file, and a note of telemetry being off."""
    return {
        path: size
        for path, size in deployed.temporary_files().items()
        if size and not path.endswith("/mlflow/telemetry.json")
    }


def test_four_large_uploads_at_once(deployed: Deployed) -> None:
    megabytes = 200 if deployed.embedded else 1024
    before = deployed.processes()
    contents = [Content(megabytes, number) for number in range(FOUR)]
    paths = [f"{FILES}/0/{OWNED}/{time.time_ns()}-{number}.bin" for number in range(FOUR)]
    uploads: dict[int, Reply] = {}
    downloads: dict[int, bool] = {}

    def up(number: int) -> None:
        uploads[number] = upload(deployed.front, paths[number], contents[number])

    def down(number: int) -> None:
        downloads[number] = comes_back(deployed.front, paths[number], contents[number])

    try:
        took = [at_once(up), at_once(down)]
        assert {number: reply.status for number, reply in uploads.items()} == dict.fromkeys(range(FOUR), 200)
        assert downloads == dict.fromkeys(range(FOUR), True)
        # Flask's workers are renewed after so many requests; what takes the files is one process.
        after = deployed.processes()
        assert (after.master, after.asgi) == (before.master, before.asgi)
        if not deployed.embedded:
            assert killed_for_memory(deployed) == 0
        eventually(lambda: not left_behind(deployed), "no temporary file is left", left_behind(deployed))
    finally:
        removed = [deployed.front("DELETE", path).status for path in paths]
    assert removed == [200] * FOUR
    rates = [f"{FOUR * megabytes / seconds:.0f} MB/s" for seconds in took]
    print(f"\n{deployed.runtime}: four files of {megabytes} MB at once: up {rates[0]}, down {rates[1]}")


def at_once(work: Callable[[int], None]) -> float:
    """The seconds that it takes to do the work for all numbers at once."""
    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(FOUR)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def killed_for_memory(deployed: Deployed) -> int:
    """How many of the container's processes the kernel ended for want of memory, by either kind of cgroup."""
    counted = deployed.python(
        "import os\n"
        "for path in ('/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control'):\n"
        "    if os.path.exists(path):\n"
        "        print([line.split()[1] for line in open(path) if line.startswith('oom_kill ')][0])\n"
    )
    return int(counted)


@pytest.fixture(scope="module")
def on_s3(installed: Path, stacks: Path, s3_server: S3Server) -> Iterator[Deployed]:
    """An embedded stack with artifacts on S3: a file under way is in the server's temporary directory."""
    program = Program(
        installed,
        stacks / "s3" / "stack",
        "embedded",
        {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
    )
    s3_server.client().create_bucket(Bucket="uploads")
    store = f"artifact_store:\n  kind: s3\n  bucket: uploads\n  endpoint_url: {s3_server.url}\n"
    with program.running(f"{store}server:\n  port: {free_port()}\n") as answer:
        yield Deployed(program, answer.data["tracking_uri"])


@contextmanager
def small_volume(deployed: Deployed, directory: Path) -> Iterator[None]:
    """A small file system of the server's account on that directory."""
    account = deployed.account()
    owner = f",uid={account['user']},gid={account['group']}" if account else ""
    options = f"size={SMALL_VOLUME},mode=0700{owner}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "provision-test", str(directory)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_full_temporary_volume_is_a_clear_error_and_frees_itself(on_s3: Deployed) -> None:
    path = f"{FILES}/0/{OWNED}/full.bin"
    # All files are taken by one worker, which has a directory of its own there.
    directory = on_s3.scratch / f"worker-{on_s3.processes().asgi[0]}"
    with small_volume(on_s3, directory):
        refused_for_want_of_space(on_s3, path, directory)
    on_s3.ready()


def test_what_a_killed_worker_had_under_way_is_removed(on_s3: Deployed) -> None:
    connection = on_s3.front.connection(timeout=60)
    try:
        connection.putrequest("PUT", f"{FILES}/0/killed.bin", skip_host=True)
        connection.putheader("Host", "127.0.0.1")
        connection.putheader("Content-Length", str(64 * MB))
        connection.endheaders(b"x" * 8 * MB)
        eventually(lambda: sum(left_behind(on_s3).values()) > 4 * MB, "what has come is in a temporary file")
        on_s3.signal(on_s3.processes().asgi[0], signal.SIGKILL)
        eventually(lambda: not left_behind(on_s3), "it is gone", left_behind(on_s3))
    finally:
        connection.close()
    on_s3.ready()


# A directory is the artifact store of the embedded runtime alone.
@pytest.mark.only("embedded")
def test_a_full_artifact_directory_is_a_clear_error_and_frees_itself(deployed: Deployed) -> None:
    directory = deployed.program.stack / "data/artifacts/full"
    directory.mkdir(exist_ok=True)
    try:
        with small_volume(deployed, directory):
            refused_for_want_of_space(deployed, f"{FILES}/full/{OWNED}/file.bin", directory)
    finally:
        directory.rmdir()


def refused_for_want_of_space(deployed: Deployed, path: str, directory: Path) -> None:
    """A file that does not fit is refused with the reason, nothing of it stays; one that fits is taken."""
    reply = upload(deployed.front, path, Content(300, 1))
    assert reply.status == 507, reply
    assert "No space left on device" in reply.document["message"]

    def used() -> int:
        return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())

    eventually(lambda: used() == 0, "nothing of the file is left")
    small = Content(4, 2)
    assert upload(deployed.front, path, small).status == 200
    assert comes_back(deployed.front, path, small)
    assert deployed.front("DELETE", path).status == 200
    eventually(lambda: used() == 0, "no temporary file is left")
