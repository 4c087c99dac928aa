"""What `erase` says before it asks: what is deleted, and what is not since it is the user's own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from provisioner.actions.erase import EraseOptions, erase
from provisioner.errors import Declined, PreflightError
from provisioner.model import setting_keys
from provisioner.model.settings_text import parse_settings
from provisioner.model.state import State
from provisioner.model.stores.base import RuntimeKind
from provisioner.output import TerminalReporter

UNKNOWN = "(how much is unknown while the stack is down)"
OWN = [f"erases  all runs and models: the backend store {UNKNOWN}", f"erases  all artifacts {UNKNOWN}"]
URI = "postgresql+psycopg2://team@db.example.com/ml"
THEIRS = f"backend_store: {{kind: external, uri: '{URI}'}}\nartifact_store: {{kind: s3, bucket: team}}\n"
KEPT = [f"keeps   the backend store, which is yours: {URI}", "keeps   the bucket, which is yours: team"]


@pytest.mark.parametrize("kind", ["docker", "embedded"])
@pytest.mark.parametrize(
    ("made_with", "text", "said"),
    [
        (None, "", OWN),
        (None, THEIRS, KEPT),
        (THEIRS, THEIRS, KEPT),
        (THEIRS, THEIRS.replace("bucket: team", "bucket: another"), KEPT),
        (THEIRS, "", KEPT),
        ("", THEIRS, OWN),
    ],
    ids=[
        *["own stores", "stores of the user", "unchanged", "another bucket now", "own ones now"],
        "stores of the user now",
    ],
)
def test_before_it_asks_it_says_what_becomes_of_each_store(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: RuntimeKind,
    made_with: str | None,
    text: str,
    said: list[str],
) -> None:
    monkeypatch.setenv("PROVISION_DATA_DIR", str(tmp_path / "data"))
    directory = tmp_path / "stack"
    directory.mkdir()
    (directory / "provision.yml").write_text(text)
    kept = None if made_with is None else setting_keys.said(parse_settings(made_with))
    state = State(project="erase-test", runtime=kind, settings=kept)
    (directory / "state.json").write_bytes(state.text())
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    out = io.StringIO()
    with pytest.raises(Declined):
        erase(EraseOptions(directory), no, lambda _: "", TerminalReporter(out))
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert lines[1:] == [*said, f"erases  secrets in {directory / 'secrets'}"]
    assert asked == ["Delete all of it for good?"]
    assert sorted(path.name for path in directory.iterdir()) == ["provision.yml", "state.json"]


def test_secrets_that_are_a_link_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "stack/secrets").symlink_to(tmp_path / "theirs")
    (tmp_path / "stack/state.json").write_bytes(State(project="erase-test", runtime="embedded").text())

    def never(question: str) -> bool:
        raise AssertionError(question)

    with pytest.raises(PreflightError, match="secrets is a link"):
        erase(EraseOptions(tmp_path / "stack"), never, lambda _: "", TerminalReporter(io.StringIO()))
    assert sorted(path.name for path in (tmp_path / "stack").iterdir()) == ["secrets", "state.json"]
