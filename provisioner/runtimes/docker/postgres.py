"""PostgreSQL's container before its data directory is finished.

The official image's entrypoint makes the data directory, and takes one that has a `PG_VERSION` for a
database: one that was cut off is never finished (https://github.com/docker-library/postgres,
`docker-entrypoint.sh`). Until then it is a shell as process 1, for which the kernel drops signals without a
handler: `docker stop` waits for the whole grace period.
"""

from __future__ import annotations

from provisioner.model.plan import ObservedService
from provisioner.output import Reporter
from provisioner.runtimes.docker.engine import Engine

POSTGRES = "postgres"
# The entrypoint's last act on a new directory is the line that lets other containers in. Whatever an admin
# made of that line since: a directory with a database of anybody's, or files elsewhere, was in use
# (https://www.postgresql.org/docs/18/storage-file-layout.html; PostgreSQL numbers what others make from 16384
# on).
_UNFINISHED = """\
[ -d "${PGDATA:?}" ] && [ -n "$(ls -A "$PGDATA")" ] || exit 0
grep -Eqs '^host[[:space:]]+all[[:space:]]+all[[:space:]]+all' "$PGDATA/pg_hba.conf" && exit 0
for made in $(ls -A "$PGDATA/base" 2>/dev/null); do \
case $made in [0-9]*) [ "$made" -lt 16384 ] || exit 0 ;; esac; done
[ -z "$(ls -A "$PGDATA/pg_tblspc" 2>/dev/null)" ] || exit 0
aside=$PGDATA.unfinished-$(date -u +%Y%m%d-%H%M%S)
[ "$1" != move ] || mv -- "$PGDATA" "$aside"
echo "$aside"
"""

# No password in an argv. The container's files are read only but for /tmp.
_READY = 'export PSQL_HISTORY=/tmp/.psql_history PGPASSWORD="$(cat /run/secrets/postgres_password)"'
PSQL = f'{_READY}; exec psql "$@"'
# Without a terminal Docker hands no signal on to it: it leaves its number, by the name that it is given, for
# who does. A shell gives what it does not wait for no standard input, but what it is told.
PSQL_UNSEEN = (
    f'{_READY}; exec 3<&0; psql "$@" <&3 3<&- & echo $! >/tmp/psql.$0; wait $!; '
    "code=$?; rm -f /tmp/psql.$0; exit $code"
)
INTERRUPT_PSQL = "kill -INT $(cat /tmp/psql.$0)"


def end_initialisation(engine: Engine, seen: ObservedService | None) -> None:
    """End PostgreSQL's container at once while it makes its data directory: it would hear no stop signal."""
    if seen and seen.state == "starting" and _initialises(engine):
        engine.compose("kill", POSTGRES)


def set_unfinished_aside(engine: Engine, seen: ObservedService | None, reporter: Reporter) -> None:
    """Move a data directory that was never finished aside, within its volume.

    Only for a stack of which no start has ended well.
    """
    if seen and seen.state in {"running", "starting"} and _initialises(engine):
        # It goes on by itself.
        return
    if not _unfinished(engine, "look"):
        return
    engine.compose("stop", POSTGRES, timeout=300)
    aside = _unfinished(engine, "move")
    reporter.step(
        "moved",
        POSTGRES,
        "its first start was cut off, and what that has left cannot be used: "
        f"it is {aside} in its volume now",
    )


def _initialises(engine: Engine) -> bool:
    first = engine.compose("exec", "-T", POSTGRES, "cat", "/proc/1/comm", check=False)
    return first.code == 0 and first.text != POSTGRES


def _unfinished(engine: Engine, act: str) -> str:
    """Look for an unfinished directory, or move it aside where `act` is "move"; return its name aside.

    Return "" where there is none, or the image is laid out in another way.
    """
    run = (
        "run",
        "--rm",
        "--no-deps",
        "-T",
        "--entrypoint",
        "/bin/sh",
        POSTGRES,
        "-c",
        _UNFINISHED,
        "sh",
        act,
    )
    found = engine.compose(*run, check=False, timeout=120)
    return found.text.strip() if found.code == 0 else ""
