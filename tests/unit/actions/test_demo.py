"""What `demo` says where its packages are not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from provisioner.actions.demo import demo
from provisioner.errors import PreflightError
from provisioner.output import Recorder
from tests.support.installed import ROOT


def test_without_its_packages_the_demo_names_what_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PreflightError, match="needs packages") as caught:
        demo(tmp_path / "demo", tmp_path / "stack", Recorder())
    assert caught.value.where == sys.executable
    assert caught.value.hint == "`pip install '.[demo]'` in a checkout"
    assert "pip install '.[demo]'" in (ROOT / "docs/how-to/install.md").read_text()
    assert not [*tmp_path.iterdir()]
