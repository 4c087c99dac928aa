"""PostgreSQL's container before its data directory is finished.

The official image's entrypoint makes the data directory, and takes one that has a `PG_VERSION` for a database: one that was cut off is
never finished (https://github.com/docker-library/postgres, `docker-entrypoint.sh`). Until then it is a shell as process 1, for which the
kernel drops signals without a handler: `docker stop` waits for the whole grace period.
"""

from __future__ import annotations

from provisioner.model.plan import ObservedService
from provisioner.output import Reporter
from provisioner.runtimes.docker_engine import Engine

POSTGRES = "postgres"
# The entrypoint's last act on a new directory is the line that lets other containers in.
_UNFINISHED = """\
[ -d "${PGDATA:?}" ] && [ -n "$(ls -A "$PGDATA")" ] || exit 0
grep -qs '^host all all all' "$PGDATA/pg_hba.conf" && exit 0
aside=$PGDATA.unfinished-$(date -u +%Y%m%d-%H%M%S)
[ "$1" != move ] || mv -- "$PGDATA" "$aside"
echo "$aside"
"""


def end_initialisation(engine: Engine, seen: ObservedService | None) -> None:
    """End PostgreSQL's container at once while it makes its data directory: it would not hear a signal to stop."""
    if seen and seen.state == "starting" and _initialises(engine):
        engine.compose("kill", POSTGRES)


def set_unfinished_aside(engine: Engine, seen: ObservedService | None, reporter: Reporter) -> None:
    """Move a data directory that was never finished aside, within its volume. Only for a stack of which no start has ended well."""
    if seen and seen.state in {"running", "starting"} and _initialises(engine):
        # It goes on by itself.
        return
    if not _unfinished(engine, "look"):
        return
    engine.compose("stop", POSTGRES, timeout=300)
    aside = _unfinished(engine, "move")
    reporter.step("moved", POSTGRES, f"its first start was cut off, and what that has left cannot be used: it is {aside} in its volume now")


def _initialises(engine: Engine) -> bool:
    first = engine.compose("exec", "-T", POSTGRES, "cat", "/proc/1/comm", check=False)
    return first.code == 0 and first.text != POSTGRES


def _unfinished(engine: Engine, act: str) -> str:
    """The name that an unfinished directory has or would have aside; "" where there is none, or the image is laid out in another way."""
    run = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "/bin/sh", POSTGRES, "-c", _UNFINISHED, "sh", act)
    found = engine.compose(*run, check=False, timeout=120)
    return found.text.strip() if found.code == 0 else ""
