"""The Python that the server environment is made with: one that the services' account can use whole."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import CommandFailed, PreflightError
from provisioner.output import Reporter
from provisioner.runtimes.embedded.service_user import ServiceUser
from provisioner.system import process

OLDEST = (3, 10)
NEWEST = (3, 14)
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# An interpreter below a closed home may start for another user and silently use another standard library: so
# it says which one it has. The modules are those with a compiled part that the services need.
_FACTS = (
    "import ctypes, json, sqlite3, ssl, sys, sysconfig;"
    "print(json.dumps([sysconfig.get_path('stdlib'), json.__file__, sys.base_prefix, *sys.version_info[:3]]))"
)
_LEFT_OUT = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "tests", "idlelib", "__pycache__", "*.a", "include", "man"
)


@dataclass(frozen=True)
class Interpreter:
    """A Python program and its version (`3.11`); `copy_of` is the prefix it still has to be copied from."""

    executable: Path
    version: str
    copy_of: Path | None = None


def base_interpreter() -> Interpreter:
    """Return the Python that this program's own environment was made with."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(Path(getattr(sys, "_base_executable", "") or sys.executable).resolve(), version)


def choose_interpreter(account: ServiceUser, data: Path) -> Interpreter:
    """Return our own base interpreter if the account can use it, else a system one that it can.

    Return one to be copied below `data` where there is neither.
    """
    own = base_interpreter()
    if not account.dropped:
        return own
    for candidate in (own, *_system_interpreters()):
        if is_usable(candidate, account):
            return candidate
    prefix = Path(sys.base_prefix).resolve()
    folder = (
        data / "interpreters" / f"{sys.implementation.cache_tag}-{'.'.join(map(str, sys.version_info[:3]))}"
    )
    return Interpreter(folder / own.executable.relative_to(prefix), own.version, copy_of=prefix)


def is_usable(interpreter: Interpreter, account: ServiceUser) -> bool:
    """Return whether the account gets the same Python from it as we do, with the same standard library."""
    ours, theirs = _facts(interpreter, None), _facts(interpreter, account)
    return ours is not None and ours == theirs


def make_interpreter(interpreter: Interpreter, account: ServiceUser, reporter: Reporter) -> None:
    """Make the copy, where there has to be one; raise PreflightError when the account cannot use it."""
    source = interpreter.copy_of
    if source is None:
        return
    folder = interpreter.executable.parent.parent
    if not folder.exists():
        with reporter.working(f"copying the interpreter of {source} for the user {account.name}"):
            _copy(source, folder)
        reporter.step(
            "created", "interpreter", f"a copy of {source}, which the user {account.name} cannot read"
        )
    if not is_usable(interpreter, account):
        raise PreflightError(
            f"no Python here can be used by the user {account.name}, which the services run as",
            where=f"{base_interpreter().executable}, and {_SYSTEM_PATH}",
            why=f"a copy at {folder} does not work either",
            hint="install Python 3.10 or later for all users (`apt-get install python3`), then try again",
        )


def _copy(source: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".copy-") as scratch:
        copy = Path(scratch) / "python"
        for name in ("bin", "lib"):
            shutil.copytree(source / name, copy / name, symlinks=True, ignore=_LEFT_OUT)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                path.chmod(
                    path.stat().st_mode | (0o055 if path.is_dir() or path.stat().st_mode & 0o100 else 0o044)
                )
        try:
            copy.rename(folder)
        except OSError:
            # Another `provision up` was quicker.
            if not folder.exists():
                raise


def _system_interpreters() -> Iterator[Interpreter]:
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}", path=_SYSTEM_PATH)
        if found:
            yield Interpreter(Path(found), f"3.{minor}")


def _facts(interpreter: Interpreter, account: ServiceUser | None) -> list[object] | None:
    argv = [str(interpreter.executable), "-I", "-S", "-c", _FACTS]
    identity = account.identity if account else None
    try:
        seen = process.run(
            argv, cwd=Path("/"), env={"PATH": _SYSTEM_PATH, "LANG": "C.UTF-8"}, identity=identity, timeout=30
        )
        facts = json.loads(seen.text)
    except (CommandFailed, ValueError):
        return None
    return facts if isinstance(facts, list) else None
