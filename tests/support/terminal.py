"""A terminal on which a command is typed, and what it says beside the screens in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pexpect
import pytest

from docs import screens

# Wider than any line: what is wrapped would depend on the width.
SIZE = (50, 500)


def typed(
    command: str,
    cwd: Path,
    env: Mapping[str, str],
    code: int = 0,
    answers: Mapping[str, str] | None = None,
) -> str:
    """What the command says on a terminal without colours, where it ends with that exit code.

    `answers` has what is typed, by the pattern of what is asked.
    """
    ended = pexpect.run(
        command,
        timeout=600,
        withexitstatus=True,
        events=[*(answers or {}).items()],
        encoding="utf-8",
        cwd=str(cwd),
        env={**env, "TERM": "dumb"},
        dimensions=SIZE,
    )
    assert isinstance(ended, tuple)
    said, status = ended
    assert status == code, f"$ {command}\n{said}"
    return str(said).replace("\r\n", "\n")


def check_screen(screen: str, session: str, config: pytest.Config) -> None:
    """The docs show that session; with `--update-screens` they do from now on."""
    if config.getoption("--update-screens"):
        screens.put_in_page(screen, session)
    assert screens.stable(screens.in_page(screen)) == screens.stable(session), "`make screens` writes it anew"
