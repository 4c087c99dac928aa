"""Which artifacts may be deleted through the server: those of one run, model or trace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent.parent / "deploy/server"))

from artifacts import is_owned

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "path",
    [
        f"1/{RUN}/artifacts",
        f"1/{RUN}/artifacts/model/MLmodel",
        f"1/{RUN}/artifacts/a\nb",
        f"1/models/m-{RUN}/artifacts/model.pkl",
        f"1/traces/tr-{RUN}/artifacts/traces.json",
        f"team/place/{RUN}/artifacts/x",
        f"{RUN}/artifacts/x",
        f"1//{RUN}/./artifacts/x/",
        f"1/models/../{RUN}/artifacts/x",
    ],
)
def test_artifacts_of_one_owner_are(path: str) -> None:
    assert is_owned(path)


@pytest.mark.parametrize(
    "path",
    [
        *["", ".", "./", "..", "/", "./.", "1", "1/", "1/.", "1/models", "1/traces", "team/place"],
        *[f"1/{RUN}", f"1/{RUN}/", f"1/{RUN}/artifacts/..", f"1/{RUN}/artifacts/../..", f"1/{RUN}/artifacts/x/../../.."],
        *[f"1/{RUN}/artifactsx", "1/run/artifacts/x", f"1/x{RUN}/artifacts/x", f"1/{RUN.upper()}/artifacts/x", "artifacts/x"],
    ],
)
def test_what_holds_those_of_several_is_not(path: str) -> None:
    assert not is_owned(path)
