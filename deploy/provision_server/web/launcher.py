"""Become a service of the embedded runtime: take its environment from a JSON file, end with the parent, exec.

One that is given sockets stays a program of this process, which keeps them.

`launch NAME` runs the service's own command; `launch NAME PROGRAM ARGUMENTS...` another one in its
environment. Started in the stack directory; PROVISION_RUN names the directory of unix sockets.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from provision_server.web.listening import Listener, PortTaken, Program, Starter

SERVICES = Path("deploy/embedded/services.json")
RUN = "/@RUN@"
STARTS_KEPT = 10
FORMER = "PROVISION_FORMER"
_PR_SET_PDEATHSIG = 1


def launch(arguments: list[str]) -> None:
    """Run the service in this process's place, or as its child where it is given sockets.

    Exit with one line on stderr when it cannot be run.
    """
    name, *other = arguments
    parent = os.getppid()
    try:
        service = json.loads(SERVICES.read_text(encoding="utf-8"))[name]
        run = os.environ["PROVISION_RUN"]
    except (OSError, ValueError, KeyError) as error:
        sys.exit(
            f"{name}: cannot be started: {type(error).__name__} {error}; "
            f"`provision up` renders {SERVICES} anew"
        )
    os.umask(0o077)
    end_with_parent(service["parent_death_signal"], parent)
    if "log" in service and not other:
        write_to(service["log"])
    argv, environment = command(service, run, other)
    try:
        if "listen" in service and not other:
            sys.exit(serve(name, service, argv, environment))
        if not other:
            remember_start(Path(run) / f"{name}.starts")
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        sys.exit(
            f"{name}: {argv[0]} cannot be run: {error.strerror}; "
            "`provision up` makes the server environment anew"
        )


def serve(name: str, service: dict[str, Any], argv: list[str], environment: dict[str, str]) -> int:
    """Run the program with sockets that listen; return its exit code.

    On Linux it cannot outlive this process, which has its port. Exit with one line on stderr when the sockets
    cannot be made.
    """
    run, parent = Path(environment["PROVISION_RUN"]), os.getpid()
    taken = run / f"{name}.taken"
    former = os.environ.pop(FORMER, "")
    addresses = [
        one.replace(RUN, str(run)) if isinstance(one, str) else tuple(one) for one in service["listen"]
    ]
    try:
        listener = Listener(name, addresses, adopted=bool(former))
    except PortTaken as error:
        # `up` and `status` read it: supervisord tells nobody why a program did not start.
        taken.write_text(f"{error}\n")
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: {error.strerror}")
    taken.unlink(missing_ok=True)

    def prepare() -> None:
        end_with_parent("SIGKILL", parent)
        remember_start(run / f"{name}.starts")

    starter = Starter(argv, environment, prepare, run / name, service["grace_seconds"])
    return listener.run(
        starter, Program(int(former)) if former else None, lambda program: renew(name, program)
    )


def renew(name: str, program: Program) -> None:
    """Start this process anew as the rendered files have it now, with its sockets and its program.

    Return when that cannot be. The program stays its child, and is ended when the new one is ready.
    """
    try:
        path = json.loads(SERVICES.read_text(encoding="utf-8"))[name]["environment"]["PATH"]
        os.execvpe(
            "python",
            ["python", sys.argv[0], "launch", name],
            {**os.environ, "PATH": path, FORMER: str(program.pid)},
        )
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{name}: cannot be started anew: {type(error).__name__} {error}\n")


def command(service: dict[str, Any], run: str, other: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command line and the whole environment, with the real directory of sockets."""
    argv = other or [part.replace(RUN, run) for part in service["argv"]]
    environment = {key: value.replace(RUN, run) for key, value in service["environment"].items()}
    return argv, {**environment, "PROVISION_RUN": run}


def end_with_parent(signal_name: str, parent: int) -> None:
    """Have Linux end this process with that signal when its parent ends.

    What is started anew must not find it running.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, getattr(signal, signal_name).value, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent ended while this process was started")


def write_to(log: str) -> None:
    """Send standard output and error to that file, which holds this run only."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def remember_start(path: Path) -> None:
    """Write one line `TIME PID START` for this start, and keep the last ten.

    They tell of a service that restarts over and over, and of what was left over.
    """
    try:
        lines = path.read_text().splitlines()[-(STARTS_KEPT - 1) :] if path.exists() else []
        new = path.with_suffix(".starts.new")
        new.write_text("\n".join([*lines, f"{time.time():.0f} {os.getpid()} {started()}"]) + "\n")
        new.replace(path)
    except OSError as error:
        # The service itself matters more than the note about it.
        sys.stderr.write(f"{path}: {error.strerror}\n")


def started() -> str:
    """Return when this process started, in the kernel's ticks since boot; "-" on systems without /proc."""
    try:
        stat = Path("/proc/self/stat").read_text()
    except OSError:
        return "-"
    # The second field may hold spaces and parentheses; the start time is the twenty-second.
    return stat.rpartition(")")[2].split()[19]
