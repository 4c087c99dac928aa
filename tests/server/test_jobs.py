"""Jobs of the server's program beside it: any size, any length, and nothing left of one that was ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import psutil

from tests.server.deployed import Deployed
from tests.support.checks import eventually
from tests.support.installed import Program, stream_through_a_job


def processes(program: Program) -> set[str]:
    """The jobs that run."""
    if program.runtime == "docker":
        argv = ["docker", "ps", "-a", "--filter", f"name={program.project}-job-", "--format", "{{.Names}}"]
    else:
        return {str(job.pid) for job in psutil.process_iter(["cwd", "cmdline"]) if is_job(job.info, program)}
    return set(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines())


def is_job(info: dict[str, Any], program: Program) -> bool:
    return bool(info["cwd"] == str(program.stack) and (info["cmdline"] or [""])[-1] == "copy")


def test_a_gigabyte_goes_through_a_job_and_none_of_it_stays_in_memory(deployed: Deployed) -> None:
    came = stream_through_a_job(deployed.program, 1024)
    print(f"{deployed.program.runtime}: {came}")
    assert (came["blocks"], came["same"]) == (1024, True)
    assert came["grown_mb"] < 32


def test_a_job_that_is_interrupted_has_ended(deployed: Deployed) -> None:
    program = deployed.program
    code = (
        "import sys; from pathlib import Path; from provisioner.stack.find import read_stack\n"
        "from provisioner.system.host import LocalHost\n"
        "read_stack(Path(sys.argv[1]), '', LocalHost()).runtime.run_job('copy', stdin=sys.stdin.buffer)"
    )
    argv = [str(program.environment / "bin/python"), "-c", code, str(program.stack)]
    read, write = os.pipe()
    try:
        with subprocess.Popen(argv, env=program.env, stdin=read, stderr=subprocess.PIPE) as process:
            eventually(lambda: processes(program), 60, "it runs")
            process.send_signal(signal.SIGINT)
            process.wait(60)
        eventually(lambda: not processes(program), 60, "it has ended")
    finally:
        os.close(read)
        os.close(write)
    assert program("status").code == 0


def test_a_job_that_fails_says_why_and_leaves_nothing(deployed: Deployed) -> None:
    program = deployed.program
    started = time.monotonic()
    code = (
        "import sys; from pathlib import Path; from provisioner.errors import CommandFailed\n"
        "from provisioner.stack.find import read_stack\nfrom provisioner.system.host import LocalHost\n"
        "try:\n    read_stack(Path(sys.argv[1]), '', LocalHost()).runtime.run_job('nothing')\n"
        "except CommandFailed as failure:\n    print(failure.returncode, failure.output)"
    )
    argv = [str(program.environment / "bin/python"), "-c", code, str(program.stack)]
    done = subprocess.run(argv, env=program.env, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("1 "), done
    assert "no such role: nothing" in done.stdout
    assert processes(program) == set()
    assert time.monotonic() - started < 120
