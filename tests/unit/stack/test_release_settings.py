"""Settings of a stack of another release: which of them are the machine's, and which words change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.actions.up import UpOptions, up
from provisioner.errors import OtherRelease, PreflightError
from provisioner.model.plan import Observed
from provisioner.model.settings_text import parse_settings
from provisioner.model.state import State
from provisioner.model.stores.base import RuntimeKind
from provisioner.output import Recorder
from provisioner.stack.context import StackContext
from provisioner.stack.find import open_stack
from provisioner.stack.port_choice import decide_port
from provisioner.stack.release import refuse_changed_settings
from provisioner.system.host import LocalHost
from tests.support.ports import free_port, held

OTHER_PORT, INDEX = "server: {port: 41999}", "build: {index_url: 'https://a.example'}"
TLS = "{port: 8443, tls: internal, public_url: 'https://a.example:8443', auth: basic}"


def of(runtime: RuntimeKind, made_with: dict[str, object], port: int = 5001) -> State:
    """The state of a stack of another release."""
    return State(
        project="mlflow-abc123",
        runtime=runtime,
        port=port,
        made_by="0.0.9",
        mlflow="3.16.1",
        settings=made_with,
    )


FREE: tuple[tuple[RuntimeKind, str], ...] = (
    ("docker", OTHER_PORT),
    ("docker", "ssh: ana@other"),
    ("embedded", "ssh: ana@other"),
    ("docker", "build: {ca_file: a.pem}"),
    ("embedded", "build: {ca_file: a.pem}"),
    ("embedded", INDEX),
)
REFUSED: tuple[tuple[RuntimeKind, str, str], ...] = (
    ("embedded", OTHER_PORT, "server.port: 41999"),
    ("docker", INDEX, "build.index_url"),
    ("docker", f"server: {TLS}", "server.port: 8443"),
)


@pytest.mark.parametrize(("runtime", "text"), FREE)
def test_what_the_machine_decides_may_change_where_the_files_take_it(runtime: RuntimeKind, text: str) -> None:
    refuse_changed_settings(of(runtime, {}), parse_settings(text))


@pytest.mark.parametrize(("runtime", "text", "said"), REFUSED)
def test_and_where_they_do_not_it_is_refused(runtime: RuntimeKind, text: str, said: str) -> None:
    with pytest.raises(OtherRelease) as raised:
        refuse_changed_settings(of(runtime, {"server.port": 5001}), parse_settings(text))
    assert said in raised.value.why


SAME: tuple[tuple[RuntimeKind, dict[str, object], str], ...] = (
    ("embedded", {}, "name: mlflow\nserver: {auth: none, workers: auto, genai: false, fast: true}"),
    ("docker", {"server.fast": True}, ""),
    ("embedded", {"server.auth": "none", "name": "mlflow", "server.allowed_hosts": []}, ""),
    ("embedded", {}, "server: {port: 5001}"),
    ("embedded", {"server.port": 5001}, ""),
    ("embedded", {}, "artifact_store: {kind: local}"),
    ("docker", {"artifact_store.kind": "minio"}, "artifact_store: {bucket: mlflow}"),
    ("docker", {"resources.mlflow.cpus": 2}, "resources: {mlflow: {cpus: 2.0}}"),
)


@pytest.mark.parametrize(("runtime", "made_with", "text"), SAME)
def test_a_value_that_stays_is_no_change_however_it_is_said(
    runtime: RuntimeKind, made_with: dict[str, object], text: str
) -> None:
    refuse_changed_settings(of(runtime, made_with), parse_settings(text))


@pytest.mark.parametrize(
    ("runtime", "made_with", "text"),
    [
        ("embedded", {"server.auth": "basic"}, "server: {auth: none}"),
        ("embedded", {"server.auth": "basic"}, ""),
        ("docker", {}, "server: {fast: false}"),
        ("embedded", {}, "artifact_store: {kind: s3}"),
        ("embedded", {}, "server: {port: 5002}"),
        ("docker", {"of_another_release": 1}, ""),
    ],
)
def test_another_value_is_a_change(runtime: RuntimeKind, made_with: dict[str, object], text: str) -> None:
    with pytest.raises(OtherRelease):
        refuse_changed_settings(of(runtime, made_with), parse_settings(text))


HINTS: dict[RuntimeKind, str] = {
    "docker": "stop that program, or set another server.port in provision.yml",
    "embedded": "stop that program; another server.port is for the release that made the stack: "
    "provision 0.0.9 with MLflow 3.16.1",
}


@pytest.mark.parametrize("runtime", HINTS)
def test_a_taken_port_names_its_holder_and_what_works(tmp_path: Path, runtime: RuntimeKind) -> None:
    port = free_port()
    settings = parse_settings(f"server: {{port: {port}}}")
    context = StackContext(tmp_path, "", LocalHost(), settings, of(runtime, {"server.port": port}, port))
    with held(port), pytest.raises(PreflightError, match=f"port {port} is already in use") as raised:
        decide_port(context, Observed({}, has_data=False), (), Recorder())
    assert raised.value.hint == HINTS[runtime]
    assert "held by" in raised.value.why


def test_what_is_not_applied_is_followed_by_no_command_and_warned_of_once(tmp_path: Path) -> None:
    made = of("embedded", {"server.port": 5001, "server.workers": 3})
    (tmp_path / "state.json").write_bytes(made.text())
    (tmp_path / "provision.yml").write_text(f"server: {{port: 41999, auth: basic}}\n{INDEX}\n")
    said = Recorder()
    context = open_stack(tmp_path, said)
    assert context.tracking_uri == "http://127.0.0.1:5001"
    assert not context.model.login
    assert context.settings.server.workers == 3
    assert context.settings.build.index_url == "https://a.example", "which is the machine's"
    assert [(warned.subject, warned.text) for warned in said.warnings] == [
        (
            "provision.yml",
            "server.auth, server.port, server.workers: changed, and not applied; the stack is as it was made",
        )
    ]
    with pytest.raises(OtherRelease, match="have changed"):
        up(UpOptions(tmp_path, dry_run=True), Recorder())


def test_settings_that_are_the_same_are_followed_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(of("docker", {"server.port": 5001}).text())
    (tmp_path / "provision.yml").write_text(OTHER_PORT)
    said = Recorder()
    assert open_stack(tmp_path, said).port == 41999
    assert not said.warnings


def test_what_this_release_cannot_read_of_then_is_left(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(of("embedded", {"of_another_release": 1}).text())
    (tmp_path / "provision.yml").write_text(OTHER_PORT)
    assert open_stack(tmp_path, Recorder()).port == 41999
