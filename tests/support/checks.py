"""Of a running stack: what was logged is there, what ran still runs, what has to happen happens in time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.support.installed import Answer, Program

T = TypeVar("T")
API = "/api/2.0/mlflow"
WRITTEN_BY_SERVICES = ("data", "logs")
FILES = "/api/2.0/mlflow-artifacts/artifacts"


def eventually(look: Callable[[], T], within: float, what: str, pause: float = 0.1) -> T:
    """The first true value that `look` gives; after so many seconds AssertionError with the last one seen."""
    end = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < end, f"not within {within:.0f} s: {what}; last seen: {seen!r}"
        time.sleep(pause)


@contextlib.contextmanager
def meanwhile(work: Callable[[threading.Event], None], within: float = 90) -> Iterator[None]:
    """The work runs in a thread of its own until the caller is done, which the event says.

    It then has so many seconds to end.
    """
    done = threading.Event()
    thread = threading.Thread(target=work, args=(done,))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(within)


@dataclass(frozen=True)
class Tracking:
    """The tracking server as any HTTP client meets it."""

    uri: str

    def call(self, path: str, body: object | None = None, timeout: float = 20) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.uri}{API}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return dict(json.load(answer))

    def put(self, path: str, content: bytes) -> None:
        request = urllib.request.Request(
            f"{self.uri}{FILES}/{path}", content, {"Content-Type": "application/octet-stream"}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=20).close()

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.uri}{FILES}/{path}", timeout=20) as answer:
            return bytes(answer.read())

    def answers(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            self.call("/experiments/search", {"max_results": 1}, timeout=5)
            return True
        return False


@dataclass
class LoggedRun:
    """A run with everything that the server acknowledged."""

    tracking: Tracking
    run: str
    artifacts: str
    metrics: list[float] = field(default_factory=list)
    file: bytes = b""

    def log_metrics(self, count: int) -> None:
        """That many more values, each acknowledged before the next is sent."""
        for _ in range(count):
            value = float(len(self.metrics))
            body = {"run_id": self.run, "key": "m", "value": value, "timestamp": 1, "step": len(self.metrics)}
            self.tracking.call("/runs/log-metric", body)
            self.metrics.append(value)

    def log_file(self) -> None:
        """A file with other bytes than before, in the artifact store."""
        content = os.urandom(4096)
        self.tracking.put(f"{self.artifacts}/file.bin", content)
        self.file = content

    def all_there(self) -> None:
        """AssertionError when anything that was acknowledged is missing or another."""
        path = f"/metrics/get-history?run_id={self.run}&metric_key=m&max_results=10000"
        found = [metric["value"] for metric in self.tracking.call(path).get("metrics", [])]
        assert sorted(found) == self.metrics
        assert self.tracking.get(f"{self.artifacts}/file.bin") == self.file


def run_logged(uri: str, name: str = "faults") -> LoggedRun:
    """A run in the experiment of that name, with metrics and a file that the server acknowledged."""
    tracking = Tracking(uri)
    query = {"filter": f"name = '{name}'", "max_results": 1}
    found = tracking.call("/experiments/search", query).get("experiments") or [
        tracking.call("/experiments/create", {"name": name})
    ]
    experiment = found[0]["experiment_id"]
    info = tracking.call("/runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]
    made = LoggedRun(
        tracking, info["run_id"], info["artifact_uri"].removeprefix("mlflow-artifacts:/").lstrip("/")
    )
    made.log_metrics(10)
    made.log_file()
    return made


def healthy(program: Program, within: float = 90) -> None:
    """`provision status` says so in time."""
    eventually(lambda: program("status").code == 0, within, "the stack is up", pause=0.5)


@contextlib.contextmanager
def service_not_restarted(program: Program, *names: str) -> Iterator[None]:
    """The named services, or all, are the same containers or processes afterwards."""
    before = program.services()
    yield
    after = program.services()
    chosen = names or tuple(before)
    assert {name: after[name] for name in chosen} == {name: before[name] for name in chosen}


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file below the directory with its bytes, but a command's lock and what services write."""
    found: dict[str, bytes | None] = {}
    for parent, folders, files in os.walk(directory):
        here = Path(parent)
        if here.name in WRITTEN_BY_SERVICES and here.parent == directory:
            folders.clear()
            files.clear()
        found[str(here)] = None
        found |= {str(here / name): (here / name).read_bytes() for name in files if name != ".lock"}
    return found


@contextlib.contextmanager
def nothing_changed(directory: Path) -> Iterator[None]:
    """The directory's files are the same afterwards."""
    before = contents(directory)
    yield
    assert contents(directory) == before


def refused(answer: Answer, code: int, *words: str) -> dict[str, str]:
    """The error of a command that ended with that code; it has all the words, and says what to do next."""
    assert answer.code == code, answer.document
    error = answer.error
    text = " ".join(error.values())
    assert [word for word in words if word not in text] == [], error
    assert error["hint"], error
    assert error["left_as"], error
    return error


def containers(directory: Path) -> list[str]:
    """The containers that Compose made for that directory, running or not."""
    label = f"label=com.docker.compose.project.working_dir={directory}"
    return subprocess.run(
        ["docker", "ps", "-aq", "--filter", label], check=True, capture_output=True, text=True
    ).stdout.split()


def remove_containers(directory: Path) -> None:
    """No container, network or volume of Compose's for that directory is left, whatever state.json says."""
    form = '{{index .Config.Labels "com.docker.compose.project"}}'
    left = containers(directory)
    inspected = subprocess.run(
        ["docker", "inspect", "--format", form, *left], capture_output=True, text=True, check=False
    ).stdout
    for project in set(inspected.split()) if left else ():
        argv = ["docker", "compose", "-p", project, "down", "--volumes", "--remove-orphans", "--timeout", "1"]
        subprocess.run(argv, cwd="/", check=True, capture_output=True)


def running(program: Program) -> dict[str, psutil.Process]:
    """The first process of each service that runs, as this machine sees it."""
    if program.runtime == "docker":
        ids = [program.container(name) for name in program.services()]
        text = subprocess.run(
            [
                "docker",
                "inspect",
                "--format",
                '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Pid}}',
                *ids,
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        pids = {name: int(pid) for name, pid in (line.split() for line in text.splitlines())}
    else:
        pids = {
            row["name"]: int(row["detail"].split()[1].rstrip(","))
            for row in program.settled()
            if row["state"] == "running"
        }
    return {name: psutil.Process(pid) for name, pid in pids.items() if pid}


def has_ended(process: psutil.Process) -> bool:
    """Whether the process runs no more, its parent having looked or not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def commands_in(directory: Path) -> list[str]:
    """The command lines of the processes that work in the stack's directory."""
    return [command for _, command in _command_lines(directory).values()]


def each_once(directory: Path) -> None:
    """AssertionError unless supervisord and all services run exactly once; a server includes its workers."""
    commands = _command_lines(directory)
    for name in ("supervisor.supervisord", "bin/caddy run", "bin/postgres -D", "provision_server server"):
        ours = {pid: parent for pid, (parent, command) in commands.items() if name in command}
        assert len([pid for pid, parent in ours.items() if parent not in ours]) == 1, (name, commands)


def _command_lines(directory: Path) -> dict[int, tuple[int, str]]:
    """The parent and the command line of each process that works in the stack's directory."""
    found = {}
    for process in processes_in(directory):
        with contextlib.suppress(psutil.Error):
            found[process.pid] = (process.ppid(), " ".join(process.cmdline()))
    return found


def processes_in(directory: Path) -> list[psutil.Process]:
    """The processes that work in the stack's directory."""
    return [process for process in psutil.process_iter() if _works_in(process, directory)]


def _works_in(process: psutil.Process, directory: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return Path(process.cwd()).is_relative_to(directory) and process.status() != psutil.STATUS_ZOMBIE
    return False


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """None of them runs."""
    chosen = list(processes)
    for process in chosen:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(chosen, 10)


def may_do_little(facts: Any, service: str) -> None:
    """`docker inspect` of that service's container shows no right that it does not need."""
    host = facts["HostConfig"]
    assert facts["Config"]["User"].split(":")[0] not in {"", "0", "root"}, service
    assert not host["Privileged"], service
    assert host["ReadonlyRootfs"], service
    assert host["CapDrop"] == ["ALL"], service
    assert host["CapAdd"] in (
        [None, ["CAP_NET_BIND_SERVICE"], ["NET_BIND_SERVICE"]] if service == "proxy" else [None]
    ), service
    assert host["SecurityOpt"] == ["no-new-privileges:true"], service
    assert host["Memory"] > 0, service
    assert 0 < host["PidsLimit"] <= 1024, service
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, service
    assert not [mount for mount in facts["Mounts"] if "docker.sock" in mount["Source"]], service
