"""What every runtime does with a stack: one suite for Docker and the embedded runtime, with real services."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provisioner.assets import mlflow_version
from provisioner.errors import CommandFailed, PreflightError
from provisioner.model.plan import Observed, Plan, make_plan
from provisioner.model.settings_text import parse_settings
from provisioner.model.stack import Stack, build_stack
from provisioner.model.stores.base import RuntimeKind
from provisioner.output import Recorder
from provisioner.runtimes.base import Instance, Runtime
from provisioner.runtimes.docker.runtime import DockerRuntime
from provisioner.runtimes.embedded.runtime import EmbeddedRuntime
from provisioner.runtimes.embedded.state import this_machine
from provisioner.stack.directory import write_files
from provisioner.stack.find import read_stack
from provisioner.stack.secrets import make_secrets, missing_secrets
from provisioner.system.host import LocalHost
from provisioner.system.http import Rest, RestError
from tests.support.embedded import server_environment
from tests.support.installed import TEST_IMAGES
from tests.support.ports import free_port

# The quickest stack of both; the images count under Docker alone.
LOCAL = TEST_IMAGES + "artifact_store:\n  kind: local\n"
NO_DATABASE = (
    LOCAL + "backend_store:\n  kind: external\n  uri: postgresql+psycopg2://mlflow@db.example.com/mlflow\n"
)
DEADLINE = 90.0
API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class Subject:
    """A stack and the runtime under test."""

    stack: Stack
    instance: Instance
    runtime: Runtime
    recorder: Recorder

    def with_(self, text: str | None = None, port: int | None = None) -> Subject:
        """The same stack with other settings, or at another port."""
        instance = replace(self.instance, port=port or self.instance.port)
        return subject_of(self.runtime.kind, instance, LOCAL if text is None else text)

    def plan(self) -> Plan:
        one_shots = [service.name for service in self.stack.services if service.one_shot]
        return make_plan(self.runtime.desired(), one_shots, self.runtime.observe())

    def apply(self) -> Plan:
        """What `up` does once it has decided: files, secrets, then the plan."""
        plan = self.plan()
        context = read_stack(self.instance.directory, "", LocalHost())
        write_files(context, self.runtime.files())
        make_secrets(context, missing_secrets(context, self.stack), {}, self.recorder)
        self.runtime.prepare(self.recorder)
        self.runtime.apply(plan, self.recorder)
        return plan

    def starts(self) -> Mapping[str, str]:
        """Something of each long-running service that changes when it is restarted."""
        seen = self.runtime.observe().services
        ids = {service.name: seen[service.name].id for service in self.stack.long_running}
        if self.runtime.kind == "embedded":
            return ids
        started = docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *ids.values()).splitlines()
        return dict(zip(ids, started, strict=True))


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def subject_of(kind: RuntimeKind, instance: Instance, text: str = LOCAL) -> Subject:
    stack = build_stack(parse_settings(text), kind)
    if kind == "docker":
        return Subject(stack, instance, DockerRuntime(stack, instance, LocalHost()), Recorder())
    environment, account = server_environment()
    runtime = EmbeddedRuntime(
        stack, instance, account=account, environment=environment, machine=this_machine()
    )
    return Subject(stack, instance, runtime, Recorder())


def instance_of(directory: Path) -> Instance:
    return Instance(directory, f"contract-{os.getpid()}-{directory.name}", free_port())


@pytest.fixture(scope="module", params=["docker", "embedded"])
def kind(request: pytest.FixtureRequest) -> RuntimeKind:
    if request.param == "docker":
        request.getfixturevalue("docker")
        return "docker"
    return "embedded"


@pytest.fixture(scope="module")
def subject(kind: RuntimeKind, stacks: Path) -> Iterator[Subject]:
    """The stack that most tests share; gone with all its data at the end."""
    made = subject_of(kind, instance_of(stacks / f"{kind}-shared"))
    yield made
    made.runtime.erase(Recorder())


@pytest.fixture
def running(subject: Subject) -> Subject:
    """The shared stack, as wanted and ready; brought up by the first test that needs it."""
    if subject.plan():
        subject.apply()
        eventually(lambda: subject.runtime.probe("ready"))
    return subject


@pytest.fixture
def untouched(kind: RuntimeKind, stacks: Path) -> Subject:
    """A stack of which there is nothing yet, not even its directory."""
    return subject_of(kind, instance_of(stacks / f"{kind}-untouched"))


def eventually(look: Callable[[], str]) -> str:
    """What it gives, once it does not fail any more."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            return look()
        except (CommandFailed, RestError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def test_before_the_first_file_everything_can_be_asked_and_nothing_is_made(untouched: Subject) -> None:
    runtime = untouched.runtime
    runtime.preflight()
    assert list(runtime.desired()) == [service.name for service in untouched.stack.services]
    assert all(runtime.desired().values())
    assert runtime.files()
    assert runtime.observe() == Observed({}, has_data=False)
    assert [step.verb for step in untouched.plan().steps] == ["create"] * len(untouched.stack.services)
    assert not untouched.instance.directory.exists()


def test_the_same_stack_gives_the_same_files_and_fingerprints(untouched: Subject) -> None:
    again = untouched.with_()
    assert again.runtime.files() == untouched.runtime.files() == untouched.runtime.files()
    assert again.runtime.desired() == untouched.runtime.desired()
    assert all(not Path(path).is_absolute() and ".." not in path for path in untouched.runtime.files())


def test_stopping_and_erasing_what_was_never_made_is_no_error(untouched: Subject) -> None:
    untouched.runtime.stop(untouched.recorder)
    untouched.runtime.erase(untouched.recorder)
    assert untouched.recorder.steps == []


def test_what_was_applied_is_what_is_observed(running: Subject) -> None:
    observed = running.runtime.observe()
    assert {
        name: service.fingerprint for name, service in observed.services.items()
    } == running.runtime.desired()
    for service in running.stack.services:
        good = {"completed"} if service.one_shot else {"running", "starting"}
        assert observed.services[service.name].state in good, service.name
    assert observed.has_data
    done = {(step.verb, step.subject) for step in running.recorder.steps}
    assert {("created", service.name) for service in running.stack.services} <= done


def test_a_second_time_nothing_is_planned_and_nothing_is_restarted(running: Subject) -> None:
    before = running.starts()
    assert running.plan() == Plan()
    running.apply()
    assert running.starts() == before
    assert running.plan() == Plan()


def test_asking_changes_nothing(running: Subject) -> None:
    before, files = running.starts(), sorted(running.instance.directory.rglob("*"))
    running.runtime.preflight()
    running.runtime.files()
    running.runtime.desired()
    running.runtime.observe()
    running.runtime.logs("mlflow", 10)
    assert running.starts() == before
    assert sorted(running.instance.directory.rglob("*")) == files


def test_no_rendered_file_holds_a_secret(running: Subject) -> None:
    folder = running.instance.directory / "secrets"
    values = [(folder / spec.name).read_bytes() for spec in running.stack.secrets]
    assert all(len(value) == 32 for value in values)
    for path, file in running.runtime.files().items():
        assert not any(value in file.content for value in values), path


def test_logs_hold_the_last_lines_that_a_service_wrote(running: Subject) -> None:
    bootstrap = running.runtime.logs("bootstrap", 100).splitlines()
    assert any("database mlflow" in line for line in bootstrap)
    assert running.runtime.logs("bootstrap", 1).splitlines() == bootstrap[-1:]
    # Whoever waits for PostgreSQL's databases leaves lines there, too.
    assert "ready to accept connections" in running.runtime.logs("postgres", 2000)


def test_a_probe_answers_from_inside_the_stack(running: Subject) -> None:
    versions = json.loads(running.runtime.probe("versions"))
    assert versions["mlflow"] == mlflow_version()
    assert versions["schema"]
    assert versions["postgres"]
    assert versions["reason_against_fast"] == ""
    usage = json.loads(running.runtime.probe("usage"))
    assert usage["backend_store_bytes"] > 0
    assert usage["artifact_free_bytes"] > 0
    assert json.loads(running.runtime.probe("artifact", "0/no/such file")) == {"exists": False, "size": 0}


def test_a_probe_that_is_none_is_an_error(running: Subject) -> None:
    with pytest.raises(CommandFailed) as caught:
        running.runtime.probe("nonsense")
    assert "probe" in caught.value.output


def test_the_proxy_answers_where_it_should(running: Subject) -> None:
    rest = Rest(f"http://127.0.0.1:{running.instance.port}")
    assert eventually(lambda: rest.get_bytes("/health").decode()) == "OK"


def test_only_what_changed_is_restarted(running: Subject) -> None:
    before = running.starts()
    moved = running.with_(port=free_port())
    assert str(moved.plan()) == "change proxy: its configuration changed"
    moved.apply()
    after = moved.starts()
    assert {name for name in after if after[name] != before[name]} == {"proxy"}
    rest = Rest(f"http://127.0.0.1:{moved.instance.port}")
    assert eventually(lambda: rest.get_bytes("/health").decode()) == "OK"
    with pytest.raises(RestError):
        Rest(f"http://127.0.0.1:{running.instance.port}").get_bytes("/health")


def test_a_service_that_the_settings_have_no_more_is_to_be_removed(running: Subject) -> None:
    steps = {(step.verb, step.subject) for step in running.with_(NO_DATABASE).plan().steps}
    assert ("remove", "postgres") in steps
    assert {verb for verb, _ in steps} <= {"remove", "change"}


def test_the_embedded_runtime_says_that_minio_needs_docker(untouched: Subject) -> None:
    asked = untouched.with_(TEST_IMAGES + "artifact_store:\n  kind: minio\n").runtime
    if asked.kind == "docker":
        asked.preflight()
        return
    with pytest.raises(PreflightError, match="needs Docker"):
        asked.preflight()


def test_stop_ends_every_service_and_keeps_the_data(running: Subject) -> None:
    rest = Rest(f"http://127.0.0.1:{running.instance.port}")
    experiment = rest.call("POST", f"{API}/experiments/create", {"name": "kept"})
    rest.put_bytes("/api/2.0/mlflow-artifacts/artifacts/kept.bin", b"12345")
    recorder = Recorder()
    running.runtime.stop(recorder)
    observed = running.runtime.observe()
    assert {service.state for service in observed.services.values()} <= {"stopped", "completed"}
    assert observed.has_data
    assert {step.subject for step in recorder.steps if step.verb == "stopped"} >= {
        service.name for service in running.stack.long_running
    }
    with pytest.raises(RestError):
        rest.get_bytes("/health")
    running.apply()
    found = eventually(
        lambda: json.dumps(
            rest.call("GET", f"{API}/experiments/get-by-name?experiment_name=kept")["experiment"]
        )
    )
    assert json.loads(found)["experiment_id"] == experiment["experiment_id"]
    assert json.loads(running.runtime.probe("artifact", "kept.bin")) == {"exists": True, "size": 5}
    assert running.plan() == Plan()


def test_erase_leaves_no_service_and_no_data(running: Subject) -> None:
    running.runtime.erase(running.recorder)
    assert running.runtime.observe() == Observed({}, has_data=False)
    assert [step.verb for step in running.plan().steps] == ["create"] * len(running.stack.services)
    with pytest.raises(RestError):
        Rest(f"http://127.0.0.1:{running.instance.port}").get_bytes("/health")
    assert (running.instance.directory / "secrets").is_dir()
    running.runtime.erase(running.recorder)
