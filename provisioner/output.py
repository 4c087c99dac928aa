"""What a command did, in two forms: lines for people on stderr and stdout, one JSON document on stdout."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol, TextIO

from provisioner.errors import ProvisionError

# Of the JSON document: it grows when a key is renamed, goes, or means something else.
DOCUMENT_VERSION = 1

NOTHING_CHANGED = "nothing was changed (--dry-run)"

# C0 and C1 but newline and tab, with which a value from a file could command a terminal; and what stands for
# bytes of a file's name that are no UTF-8, which no stream takes.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\udc80-\udcff]")

# Keys that several commands give; each means one thing.
TrackingUri = Annotated[str, "the address that clients use"]
ComposeProject = Annotated[str, "the name of the stack's services, which Compose calls its project"]
LinkedProjects = Annotated[
    tuple[str, ...] | None, "directories of all Kedro projects that are linked to this stack"
]
KedroProjectPath = Annotated[str, "the Kedro project's directory"]
ChangedFiles = Annotated[
    tuple[str, ...],
    "relative paths of the files that were (or, with `--check` or `--dry-run`, would be) written",
]
Username = Annotated[str, "the login"]


@dataclass(frozen=True)
class Step:
    """One thing done or found: `created  secrets  4 generated`."""

    verb: str
    subject: str
    detail: str = ""


@dataclass(frozen=True)
class CheckResult:
    """One observation of the running stack; `seen` says what was observed."""

    name: str
    ok: bool
    seen: str
    hint: str = ""


@dataclass(frozen=True)
class Data:
    """What a command gives to programs: its fields are the keys of `data` in JSON, each with what it is.

    One that is None is left out.
    """

    command: ClassVar[str] = ""


@dataclass(frozen=True)
class Warned:
    """Something that is not as its user may think, and keeps nothing from going on."""

    subject: str
    text: str


@dataclass(frozen=True)
class Result:
    """What a command leaves for its caller: data for programs, lines for people, and what went wrong."""

    data: Data | None = None
    lines: tuple[str, ...] = ()
    errors: tuple[ProvisionError, ...] = ()
    returncode: int = 0
    """That of a program which the command ran on the user's terminal."""
    verbatim: bool = False
    """Whether the lines are another program's, which a file or a pipe gets as they are."""

    @property
    def exit_code(self) -> int:
        """Return the command's exit code: the first error's, if there is one."""
        return self.errors[0].exit_code if self.errors else self.returncode


class Reporter(Protocol):
    """Where actions say what they observe while they work."""

    def using(self, *, stack: str = "", runtime: str = "") -> None:
        """Tell which stack, and which runtime, the command works on, whatever becomes of it."""

    def note(self, label: str, text: str) -> None:
        """Report a heading line, such as the stack in use."""

    def step(self, verb: str, subject: str, detail: str = "") -> None:
        """Report one thing done."""

    def row(self, label: str, subject: str, detail: str = "") -> None:
        """Report one row of a list that is in the command's own data too."""

    def warn(self, subject: str, text: str) -> None:
        """Report something that is not as the user may think, and keeps nothing from going on."""

    def check(self, result: CheckResult) -> None:
        """Report one end-to-end observation."""

    def line(self, text: str) -> None:
        """Report a line that long work printed."""

    def working(self, text: str) -> Any:
        """Run the block while showing that long work goes on."""


class Recorder:
    """A reporter that keeps everything and shows nothing; the base of the others.

    `completed` is asked for the final form of a text.
    """

    def __init__(self, completed: Callable[[str], str] = str) -> None:
        self._completed = completed
        self.steps: list[Step] = []
        self.checks: list[CheckResult] = []
        self.warnings: list[Warned] = []
        self.notes: dict[str, str] = {}
        self.stack = self.runtime = ""

    def using(self, *, stack: str = "", runtime: str = "") -> None:
        self.stack, self.runtime = stack or self.stack, runtime or self.runtime

    def note(self, label: str, text: str) -> None:
        self.notes[label] = self._completed(text)

    def step(self, verb: str, subject: str, detail: str = "") -> None:
        self.steps.append(Step(verb, subject, self._completed(detail)))

    def row(self, label: str, subject: str, detail: str = "") -> None:
        """Leave the row out of the result: it is in the data."""

    def warn(self, subject: str, text: str) -> None:
        self.warnings.append(Warned(subject, self._completed(text)))

    def check(self, result: CheckResult) -> None:
        self.checks.append(replace(result, seen=self._completed(result.seen)))

    def line(self, text: str) -> None:
        """Leave the line out of the result: long work keeps its own log."""

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        yield


class TerminalReporter(Recorder):
    """A reporter that writes lines to stderr; colour and a live line only on a terminal."""

    def __init__(self, stream: TextIO | None = None, completed: Callable[[str], str] = str) -> None:
        super().__init__(completed)
        self._out = stream or sys.stderr
        self._live = self._out.isatty() and os.environ.get("TERM") != "dumb"
        # https://no-color.org
        self._coloured = self._live and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()

    def note(self, label: str, text: str) -> None:
        super().note(label, text)
        self._write(visible(f"{label:<10} {self.notes[label]}"))

    def step(self, verb: str, subject: str, detail: str = "") -> None:
        super().step(verb, subject, detail)
        self.row(verb, subject, self.steps[-1].detail)

    def row(self, label: str, subject: str, detail: str = "") -> None:
        text = visible(f"{subject:<12} {detail}")
        self._write(f"  {self._colour(label, visible(f'{label:<10}'))} {text}".rstrip())

    def warn(self, subject: str, text: str) -> None:
        super().warn(subject, text)
        self.row("warning", subject, self.warnings[-1].text)

    def check(self, result: CheckResult) -> None:
        super().check(result)
        verb = "ok" if result.ok else "failed"
        text = visible(f"{result.name:<16} {self.checks[-1].seen}")
        self._write(f"  {self._colour(verb, f'{verb:<10}')} {text}".rstrip())

    def line(self, text: str) -> None:
        if self._live:
            self._transient(text)
        else:
            self._write(visible(f"    {text}"))

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        if not self._live:
            self._write(visible(f"  ...        {text}"))
            yield
            return
        done = threading.Event()
        spinner = threading.Thread(target=self._spin, args=(text, done), daemon=True)
        spinner.start()
        try:
            yield
        finally:
            done.set()
            spinner.join()
            self._transient("")

    def _spin(self, text: str, done: threading.Event) -> None:
        started = time.monotonic()
        while not done.wait(0.2):
            self._transient(f"{text} ({time.monotonic() - started:.0f} s)")

    def _transient(self, text: str) -> None:
        with self._lock:
            self._out.write(f"\r\x1b[K{visible(f'  ...        {text}')[:100] if text else ''}")
            self._out.flush()

    def _write(self, text: str) -> None:
        with self._lock:
            self._out.write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")
            self._out.flush()

    def _colour(self, verb: str, text: str) -> str:
        if not self._coloured:
            return text
        code = {"failed": 31, "warning": 33, "changed": 33, "stopped": 33, "removed": 33, "unchanged": 2}.get(
            verb, 32
        )
        return f"\x1b[{code}m{text}\x1b[0m"


def visible(text: str) -> str:
    """Return the text with control characters, but newline and tab, as escapes that can be seen: `\\x1b`."""
    return _UNSEEN.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def error_lines(error: ProvisionError) -> list[str]:
    """Return the lines a person sees for an error: what, then each part that is known, then the next step."""
    parts = (("where", error.where), ("seen", error.why), ("left as", error.left_as))
    lines = [f"error: {error.what}"]
    known = [(name, text) for name, text in parts if text]
    if known:
        lines.append("")
    for name, text in known:
        first, *rest = text.splitlines() or [""]
        lines.append(f"  {name:<10} {first}")
        lines += [f"  {'':<10} {line}" for line in rest]
    if error.hint:
        lines += ["", f"  next: {error.hint}"]
    return lines


def error_document(error: ProvisionError) -> dict[str, str]:
    """Return the JSON form of an error."""
    return {
        "code": error.code,
        "what": error.what,
        "where": error.where,
        "why": error.why,
        "hint": error.hint,
        "left_as": error.left_as,
    }


def size(count: float | None) -> str:
    """Return a number of bytes as text for people, such as `1.5 MB`; `unknown` for None."""
    if count is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counted(number: int, noun: str) -> str:
    """Return the number and the noun in its form: `1 artifact`, `3 artifacts`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def result_document(command: str, result: Result, recorder: Recorder) -> str:
    """Return a command's one JSON document; `data` has its steps, warnings and checks beside its own keys."""
    own = asdict(result.data) if result.data else {}
    data = {
        "steps": [asdict(step) for step in recorder.steps],
        "warnings": [asdict(warning) for warning in recorder.warnings],
        "checks": [{"name": check.name, "ok": check.ok, "seen": check.seen} for check in recorder.checks],
        **{key: value for key, value in own.items() if value is not None},
    }
    document = {
        "version": DOCUMENT_VERSION,
        "command": command,
        "ok": result.exit_code == 0,
        "exit_code": result.exit_code,
        "stack": recorder.stack,
        "runtime": recorder.runtime,
        "data": data,
        "errors": [error_document(error) for error in result.errors],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
