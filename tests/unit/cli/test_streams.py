"""Standard streams that are closed, full or broken: the work is done, and its exit code stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

import provisioner
from tests.support.ports import free_port

LOST = "error: cannot write to standard output"
# For `sh`, which closes what Python's `subprocess` cannot.
REFUSING = {">&-": "it is closed", ">/dev/full": "no space left on device"}
STDERR = ("2>&-", "2>/dev/full", ">&- 2>&-")


def shell(tmp_path: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, in which `provision` is the program of these sources."""
    root = Path(provisioner.__file__).parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PROVISION_DATA_DIR": str(tmp_path / "data"),
        "PROGRAM": sys.executable,
    }
    script = f'provision() {{ "$PROGRAM" -m provisioner "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # As a shell has it, whatever started the tests.
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
    )


def settings(tmp_path: Path) -> None:
    (tmp_path / "provision.yml").write_text(f"server: {{port: {free_port()}}}\n")


@pytest.mark.parametrize("command", ["schema", "schema --output json", "--version", "--help"])
@pytest.mark.parametrize("redirected", REFUSING)
def test_a_result_that_cannot_be_written_is_1_and_said(tmp_path: Path, command: str, redirected: str) -> None:
    done = shell(tmp_path, f"provision {command} {redirected}")
    assert (done.returncode, done.stderr) == (1, f"{LOST}: {REFUSING[redirected]}\n")


def test_a_reader_that_leaves_is_1_and_no_traceback(tmp_path: Path) -> None:
    done = shell(tmp_path, "provision schema | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (1, f"{LOST}: broken pipe\n")


def test_a_failure_keeps_its_exit_code_where_its_document_is_lost(tmp_path: Path) -> None:
    done = shell(tmp_path, "provision status --output json >/dev/full")
    assert (done.returncode, done.stderr) == (6, "")


@pytest.mark.parametrize("redirected", STDERR)
def test_work_is_done_whatever_becomes_of_its_lines(tmp_path: Path, redirected: str) -> None:
    settings(tmp_path)
    done = shell(tmp_path, f"provision render {redirected}")
    assert done.returncode == (1 if ">&- 2" in redirected else 0)
    assert "Traceback" not in done.stderr
    assert shell(tmp_path, "provision render --check").returncode == 0


def test_work_goes_on_where_the_reader_of_its_lines_left(tmp_path: Path) -> None:
    settings(tmp_path)
    done = shell(tmp_path, "provision render 2>&1 >result | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "result").read_text().startswith("next")
    assert shell(tmp_path, "provision render --check").returncode == 0


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_faulty_command_line_is_2_with_nowhere_to_say_so(tmp_path: Path, redirected: str) -> None:
    assert shell(tmp_path, f"provision up --no-such {redirected}").returncode == 2


def test_with_every_stream_closed_no_file_takes_the_place_of_one(tmp_path: Path) -> None:
    settings(tmp_path)
    done = shell(tmp_path, "provision render <&- >&- 2>&-; provision render --check")
    assert done.returncode == 0
    # What asks needs one to ask.
    done = shell(tmp_path, "provision erase --output json <&- >result")
    assert done.returncode == json.loads((tmp_path / "result").read_text())["exit_code"]
    assert "bug" not in (tmp_path / "result").read_text()


def test_on_a_terminal_what_services_wrote_commands_nothing() -> None:
    code = (
        "import typer; from provisioner.cli.run import *\n"
        "def main(): run('logs', Output.text, lambda _: Result(lines=('a\\x1b]0;b',), verbatim=True))\n"
        "typer.run(main)"
    )
    root = str(Path(provisioner.__file__).parents[1])
    child = pexpect.spawn(
        sys.executable, ["-c", code], timeout=60, encoding="utf-8", env={**os.environ, "PYTHONPATH": root}
    )
    assert child.read() == "a\\x1b]0;b\r\n"
