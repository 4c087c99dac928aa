"""Run programs, with four clear errors; with `streams.py`, the one door to `subprocess`."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from provisioner.errors import CommandFailed

# How things are left by a program that was started and did not end well: nobody here knows what it did.
BEGUN = "what it did before that stays"
# The next step where nobody here knows the program better.
_AGAIN = "fix what its last lines say, then try again"
_SLOW = "look at the network and the disk, then try again"


@dataclass(frozen=True)
class Completed:
    """A program that ended: its code (0 or more; a signal raises) and what it wrote."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Return standard output as text, without newlines at its end."""
        return self.stdout.decode(errors="replace").rstrip("\n")

    @property
    def error_text(self) -> str:
        """Return standard error as text, without white space at its ends."""
        return self.stderr.decode(errors="replace").strip()


@dataclass(frozen=True)
class Identity:
    """Whom a program runs as, when that is not ourselves; it has no other groups."""

    uid: int
    gid: int


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float = 60,
    check: bool = True,
    identity: Identity | None = None,
) -> Completed:
    """Run a program to its end, and return its code and what it wrote.

    Raise CommandFailed when it is missing, killed, late, or (with `check`) when its code is not 0.
    """
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=env,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
            **_as_user(identity),
        )
    except OSError as error:
        raise _not_started(argv, cwd, error) from error
    except subprocess.TimeoutExpired as late:
        seen = (late.stderr or late.stdout or b"").decode(errors="replace")
        raise failed(
            argv, f"{argv[0]} did not end within {timeout:.0f} s", _SLOW, output=seen, left_as=BEGUN
        ) from late
    completed = Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
    if check or done.returncode < 0:
        raise_on_failure(argv, done.returncode, completed.error_text or completed.text)
    return completed


def stream(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    umask: int = -1,
    silence: float = 900,
    held: bool = False,
) -> None:
    """Run a program and hand on each line it writes (both streams) as it comes; all of it goes to `log` too.

    A program that writes nothing for `silence` seconds is ended: it hangs. `held` leaves its standard input
    open until we end.
    """
    stdin = subprocess.PIPE if held else subprocess.DEVNULL
    process = start(
        argv, cwd=cwd, env=env, umask=umask, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    tail: list[str] = []
    with process, open(log or os.devnull, "ab") as copy, _Watchdog(silence, process.kill) as watchdog:
        try:
            for raw in process.stdout or ():
                watchdog.feed()
                copy.write(raw)
                copy.flush()
                line = raw.decode(errors="replace").rstrip()
                tail = [*tail[-19:], line]
                on_line(line)
        except BaseException:
            process.terminate()
            raise
    if watchdog.bit:
        raise _hung(argv, silence, "\n".join(tail))
    raise_on_failure(argv, process.returncode, "\n".join(tail), log=str(log or ""))


def start(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    identity: Identity | None = None,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a program, and return it at work; the options are those of `subprocess`.

    Raise CommandFailed when it cannot be started.
    """
    try:
        return subprocess.Popen(list(argv), cwd=cwd, env=env, **_as_user(identity), **options)
    except OSError as error:
        raise _not_started(argv, cwd, error) from error


class _User(TypedDict):
    user: int | None
    group: int | None
    extra_groups: list[int] | None


def _as_user(identity: Identity | None) -> _User:
    """Return what `subprocess` is told so that a program runs as that user; None is ourselves."""
    if identity is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": identity.uid, "group": identity.gid, "extra_groups": []}


class _Watchdog:
    """Calls `bite` when it was not fed for that many seconds."""

    def __init__(self, seconds: float, bite: Callable[[], None]) -> None:
        self._seconds = seconds
        self._bite = bite
        self._fed = time.monotonic()
        self._done = threading.Event()
        self.bit = False

    def feed(self) -> None:
        """Wait anew."""
        self._fed = time.monotonic()

    def __enter__(self) -> _Watchdog:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(min(1.0, self._seconds)):
            if time.monotonic() - self._fed > self._seconds:
                self.bit = True
                self._bite()
                return


def attach(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    identity: Identity | None = None,
) -> int:
    """Run a program on this terminal (its output is the user's) and give its code."""
    try:
        return subprocess.run(list(argv), cwd=cwd, env=env, check=False, **_as_user(identity)).returncode
    except OSError as error:
        raise _not_started(argv, cwd, error) from error


@contextlib.contextmanager
def interrupts_left_to_it() -> Iterator[None]:
    """Run the block with interrupts left to the program that has the terminal."""
    # Not SIG_IGN, which the program would have from us.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Held:
    """A program that lives as long as we hold it: its input is a pipe that ends with us, however we end."""

    def __init__(self, argv: Sequence[str], process: subprocess.Popen[bytes]) -> None:
        self.argv = tuple(argv)
        self._process = process

    @property
    def alive(self) -> bool:
        """Return whether it still runs."""
        return self._process.poll() is None

    def lines(self, last: str, timeout: float) -> list[str]:
        """Return what it writes up to and without the line `last`.

        Raise CommandFailed, with all that it said, when it ends before that, or has not written the line
        after `timeout` seconds.
        """
        found: list[str] = []
        with _Watchdog(timeout, self._process.kill) as watchdog:
            for raw in self._process.stdout or ():
                line = raw.decode(errors="replace").rstrip("\r\n")
                if line == last:
                    return found
                found.append(line)
        code = self._process.wait()
        said = "\n".join(found)
        if watchdog.bit:
            raise failed(self.argv, f"{self.argv[0]} did not answer within {timeout:.0f} s", _SLOW, said)
        what = f"{self.argv[0]} ended with exit code {code}"
        raise CommandFailed(
            what, shlex.join(self.argv), said, _AGAIN, argv=self.argv, returncode=code, output=said
        )

    def end(self, timeout: float = 5) -> None:
        """End it: close its input, and kill it if that does not end it within `timeout` seconds."""
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


def hold(argv: Sequence[str]) -> Held:
    """Start a program to be held; it writes both streams into one."""
    return Held(argv, start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))


def raise_on_failure(argv: Sequence[str], code: int, output: str, log: str = "") -> None:
    """Raise CommandFailed for a code that is not 0; a negative one is a signal."""
    if code == 0:
        return
    what = (
        f"{argv[0]} was killed by {_signal_name(-code)}"
        if code < 0
        else f"{argv[0]} failed with exit code {code}"
    )
    last = "\n".join(output.splitlines()[-20:])
    raise CommandFailed(
        what,
        shlex.join(argv),
        last,
        _AGAIN,
        BEGUN,
        argv=tuple(argv),
        returncode=code,
        output=output,
        log=log,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _not_started(argv: Sequence[str], cwd: Path | None, error: OSError) -> CommandFailed:
    if cwd is not None and not cwd.is_dir():
        return no_directory(argv, cwd)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return missing(argv)
    if isinstance(error, PermissionError):
        return not_executable(argv)
    return failed(argv, f"{argv[0]} cannot be started: {error.strerror}", _AGAIN)


def no_directory(argv: Sequence[str], cwd: Path | None) -> CommandFailed:
    """Return the error for a program whose working directory is not there."""
    return failed(argv, f"the directory {cwd} does not exist", "make it, or name another")


def missing(argv: Sequence[str]) -> CommandFailed:
    """Return the error for a program that is not there."""
    return failed(argv, f"the program {argv[0]} is not there", f"install {argv[0]}, or put it on PATH")


def not_executable(argv: Sequence[str], output: str = "") -> CommandFailed:
    """Return the error for a program that may not be executed."""
    return failed(argv, f"{argv[0]} may not be executed", "check its permissions", output)


def _hung(argv: Sequence[str], silence: float, output: str) -> CommandFailed:
    """Return the error for a program that was ended since it wrote nothing for so many seconds."""
    what = f"{argv[0]} wrote nothing for {silence:.0f} s and was ended"
    return failed(argv, what, _SLOW, output)


def failed(
    argv: Sequence[str], what: str, hint: str, output: str = "", left_as: str = "nothing was changed"
) -> CommandFailed:
    """Return the error for a program that was not started, or did not end by itself."""
    return CommandFailed(what, shlex.join(argv), output, hint, left_as, argv=tuple(argv), output=output)
