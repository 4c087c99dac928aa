"""Linking Kedro projects of every layout: what is written where, what is refused, and that all comes back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import EditRefused
from provisioner.kedro.config import effective
from provisioner.kedro.project import find_project
from provisioner.kedro.unlink import unlink
from provisioner.output import Recorder
from provisioner.system.files import read_file
from tests.support.kedro_files import config_files
from tests.support.link_project import (
    BASE,
    LOCAL,
    SHARED,
    URI,
    do_link,
    forget_variables,
    make_project,
    snapshot,
)
from tests.unit.kedro.layouts import LAYOUTS, REFUSED


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_variables(monkeypatch, tmp_path / "state")
    return tmp_path / "state"


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_address_goes_where_kedro_reads_it_and_comes_back_out(name: str, tmp_path: Path) -> None:
    code, files, options, expected = LAYOUTS[name]
    project = make_project(tmp_path / "demo", files, code)
    before = snapshot(project)
    report = do_link(project, **options)
    after = {
        path: content
        for path, content in snapshot(project).items()
        if content is not None and before.get(path) != content
    }
    assert {path: content.decode() for path, content in after.items()} == expected
    assert report.changed == tuple(expected)
    assert report.proof.state == "not made"
    uri = options.get("uri", URI)
    found = find_project(project)
    env = options.get("env", found.default_env())
    assert effective(found, found.default_env() if env == found.base_env else env, read_file).uri == uri
    once = snapshot(project)
    assert do_link(project, **options).changed == ()
    assert snapshot(project) == once
    unlink(project, Recorder())
    assert snapshot(project) == before


@settings(max_examples=60, deadline=None)
@given(local=st.none() | config_files(), base=st.none() | config_files(), uri=st.sampled_from([URI, SHARED]))
def test_unlink_restores_whatever_was_there(local: bytes | None, base: bytes | None, uri: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "demo", {"conf/base/": "", "conf/local/": ""})
        for name, content in ((LOCAL, local), (BASE, base)):
            if content is not None:
                (project / name).write_bytes(content)
        before = snapshot(project)
        try:
            do_link(project, uri)
        except EditRefused:
            assert snapshot(project) == before
            return
        once = snapshot(project)
        do_link(project, uri)
        assert snapshot(project) == once
        assert effective(find_project(project), "local", read_file).uri == uri
        unlink(project, Recorder())
        assert snapshot(project) == before


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_where_and_leaves_every_byte(name: str, tmp_path: Path, state: Path) -> None:
    code, files, options, words, place = REFUSED[name]
    project = make_project(tmp_path / "demo", files, code)
    before = snapshot(project)
    with pytest.raises(EditRefused) as caught:
        do_link(project, **options)
    assert words in f"{caught.value.what} {caught.value.why}"
    assert caught.value.where.startswith(place)
    assert caught.value.hint
    assert "pw" not in f"{caught.value.what}{caught.value.where}{caught.value.why}"
    assert snapshot(project) == before
    assert not [*state.rglob("record.json")]
