"""The server's programs: `entrypoint.py server | bootstrap | probe TOPIC`."""

from __future__ import annotations

import sys

from settings import Fault, read_settings


def main(arguments: list[str]) -> int:
    """The exit code; a fault is one line on standard error."""
    role = arguments[0] if arguments else "server"
    try:
        return _run(role, arguments[1:])
    except Fault as fault:
        print(f"{role}: {fault}", file=sys.stderr, flush=True)
        return 1


def _run(role: str, arguments: list[str]) -> int:
    settings = read_settings()
    if role == "server":
        from serve import serve

        serve(settings)
    elif role == "bootstrap":
        from bootstrap import bootstrap

        bootstrap(settings)
    elif role == "probe":
        from probe import probe

        return probe(settings, arguments)
    else:
        raise Fault(f"no such role: {role} (server, bootstrap, probe)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
