"""What `link` says to people, and what it refuses before it asks anybody for a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.actions.env import ShellOptions, shell_lines
from provisioner.actions.link import LinkData, LinkOptions, link_project
from provisioner.errors import LinkRefused
from provisioner.output import Recorder
from tests.support.link_project import NO_KEDRO, SHARED, forget_variables, make_project, snapshot


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_variables(monkeypatch, tmp_path / "state")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "demo", {"conf/base/": "", "conf/local/": ""})


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_lines_for_a_shell_are_shown_to_people_as_to_programs(project: Path, dry_run: bool) -> None:
    options = LinkOptions(
        project,
        SHARED,
        python=NO_KEDRO,
        dry_run=dry_run,
        user="ana",
        login="environment",
        ask=lambda _: "pw",
        check=False,
    )
    result = link_project(None, options, Recorder())
    assert isinstance(result.data, LinkData)
    assert result.data.environment
    heading = result.lines.index("# before `kedro run`, in the shell or its start file:")
    shown = result.lines[heading + 1 : heading + 1 + len(result.data.environment)]
    assert shown == result.data.environment
    exported = shell_lines(None, ShellOptions(SHARED, "ana"), Recorder()).lines
    assert shown == exported[-len(shown) :]
    assert shown[0] == "export MLFLOW_TRACKING_USERNAME=ana"


def test_an_environment_of_no_name_is_refused_before_anybody_is_asked(project: Path) -> None:
    before = snapshot(project.parent)

    def nobody(user: str) -> str:
        raise AssertionError(user)

    options = LinkOptions(project, SHARED, env="../x", python=NO_KEDRO, user="ana", ask=nobody, check=False)
    with pytest.raises(LinkRefused, match="no name of a Kedro environment"):
        link_project(None, options, Recorder())
    assert snapshot(project.parent) == before
