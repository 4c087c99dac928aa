"""The terminal sessions that the docs show are what the program says today.

`make screens` writes them, and makes the picture of the page, from the same scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs import screens
from tests.support.browser import open_browser
from tests.support.installed import Program
from tests.support.kedro_env import new_shop
from tests.support.ports import free_port
from tests.support.terminal import check_screen, typed

# The home that the docs speak of.
HOME = "/home/ana"
# Of the picture: its width and height in pixels.
SIZE = (1400, 850)
FAULTY = """\
server:
  bind: 0.0.0.0
  trusted_proxies: []
  tls: external
  public_url: https://mlflow.example.com
"""


@dataclass(frozen=True)
class Own:
    """Ana's own machine: her home, with a default stack and a Kedro project."""

    program: Program
    port: int

    def type(self, command: str, cwd: str = ".", code: int = 0) -> str:
        """What the command says, with the docs' home and port."""
        home = self.program.stack.parents[2]
        said = typed(command, home / cwd, self.program.env, code)
        said = said.replace(str(home / "data"), f"{HOME}/.local/share/provision").replace(str(home), HOME)
        return said.replace(f":{self.port}", ":5000")


@pytest.fixture(scope="module")
def own(installed: Path, docker: None, stacks: Path) -> Iterator[Own]:
    data = stacks / "data"
    program = Program(installed, data / "stacks/default", "docker", {"PROVISION_DATA_DIR": str(data)})
    # The port and the images are the tests' own; nothing that is said tells.
    own = Own(program, free_port())
    program.settings(f"server:\n  port: {own.port}\n")
    new_shop(stacks, program.env)
    (stacks / "team-mlflow").mkdir()
    (stacks / "team-mlflow/provision.yml").write_text(FAULTY)
    try:
        yield own
    finally:
        program.remove()


def picture(own: Own) -> bytes:
    """The best run of the demo project in a browser, with its confusion matrix, as PNG."""
    answer = own.program("demo", "demo", cwd=own.program.stack.parent)
    assert answer.code == 0, own.program.report()
    with open_browser() as browser:
        url = f"{answer.data['best_run_url']}/artifacts/confusion_matrix.png"
        browser.visit(url, lambda text: "confusion_matrix.png" in text and "KB" in text)
        return browser.picture(*SIZE)


@pytest.fixture(scope="module")
def sessions(own: Own, pytestconfig: pytest.Config) -> dict[str, str]:
    up = own.type("provision up")
    link = own.type("provision link shop")
    own.program.settled()
    said = {
        "up": up,
        "end of up": up[up.index("  ok  ") :].partition("next  ")[0],
        "link": link,
        "status": own.type("provision status"),
        "faulty settings": own.type("provision render", "team-mlflow", code=3),
    }
    if pytestconfig.getoption("--update-screens"):
        screens.keep_picture(picture(own))
    return said


@pytest.mark.parametrize("screen", sorted(set(screens.PAGES) - {"deploy"}))
def test_a_screen_of_ones_own_machine(
    sessions: dict[str, str], screen: str, pytestconfig: pytest.Config
) -> None:
    check_screen(screen, sessions[screen], pytestconfig)
