"""The programs: `python -m provision_server server | bootstrap | probe TOPIC | copy | launch NAME`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

if not __package__:
    # Run by the directory's own path, which Python then takes for where modules are. A stack's directory may
    # hold others' files, and with `-m` these would be imported first.
    sys.path[0] = str(Path(__file__).absolute().parents[1])


def main(arguments: list[str]) -> int:
    """Run the program that the arguments name; return its exit code.

    Print a fault as one line on standard error.
    """
    role = arguments[0] if arguments else "server"
    if role == "launch":
        # It stays beside its service as long as that lives, so it loads nothing else.
        from provision_server.web.launcher import launch

        launch(arguments[1:])
        return 0
    from provision_server.settings import Fault

    try:
        return _run(role, arguments[1:])
    except Fault as fault:
        print(f"{role}: {fault}", file=sys.stderr, flush=True)
        return 1


def _run(role: str, arguments: list[str]) -> int:
    from provision_server.settings import Fault, read_settings

    settings = read_settings()
    if role == "server":
        from provision_server.web.gunicorn_app import serve

        serve(settings)
    elif role == "bootstrap":
        from provision_server.jobs.bootstrap import bootstrap

        bootstrap(settings)
    elif role == "probe":
        from provision_server.jobs.probe import probe

        return probe(settings, arguments)
    elif role == "copy":
        # By which the way of a job's streams is tried.
        shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
    else:
        raise Fault(f"no such role: {role} (server, bootstrap, probe, copy, launch)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
