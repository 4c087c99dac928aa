"""The two forms of a result: the JSON document that programs read, and the lines that people read."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass

import pytest

from provisioner.errors import CommandFailed, PreflightError, ProvisionError, SettingsError
from provisioner.output import (
    CheckResult,
    Data,
    Recorder,
    Reporter,
    Result,
    TerminalReporter,
    error_lines,
    result_document,
    visible,
)

ERROR = PreflightError(
    "port 5000 is taken", where="proxy", why="held by caddy", hint="stop caddy", left_as="nothing was changed"
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _a_terminal_with_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@dataclass(frozen=True)
class Given(Data):
    """The data of a command."""

    tracking_uri: str
    linked: tuple[str, ...] | None = None


def work(reporter: Reporter) -> None:
    """What an action says."""
    reporter.using(stack="/s", runtime="docker")
    reporter.note("stack", "/s (--stack)")
    reporter.step("created", "secrets", "4 generated")
    reporter.step("unchanged", "proxy")
    reporter.warn("port", "it is taken")
    reporter.check(CheckResult("tracking server", True, "answered"))
    reporter.check(CheckResult("artifact store", False, "no such file", hint="look"))
    reporter.line("Pulling postgres")


def test_the_document_of_a_success_is_this() -> None:
    recorder = Recorder()
    work(recorder)
    result = Result(Given("http://127.0.0.1:5000"), ("for people",))
    assert json.loads(result_document("up", result, recorder)) == {
        "version": 1,
        "command": "up",
        "ok": True,
        "exit_code": 0,
        "stack": "/s",
        "runtime": "docker",
        "data": {
            "steps": [
                {"verb": "created", "subject": "secrets", "detail": "4 generated"},
                {"verb": "unchanged", "subject": "proxy", "detail": ""},
            ],
            "warnings": [{"subject": "port", "text": "it is taken"}],
            "checks": [
                {"name": "tracking server", "ok": True, "seen": "answered"},
                {"name": "artifact store", "ok": False, "seen": "no such file"},
            ],
            "tracking_uri": "http://127.0.0.1:5000",
        },
        "errors": [],
    }


def test_the_document_of_an_error_is_this() -> None:
    result = Result(errors=(ERROR,))
    assert json.loads(result_document("up", result, Recorder())) == {
        "version": 1,
        "command": "up",
        "ok": False,
        "exit_code": 4,
        "stack": "",
        "runtime": "",
        "data": {"steps": [], "warnings": [], "checks": []},
        "errors": [
            {
                "code": "preflight",
                "what": "port 5000 is taken",
                "where": "proxy",
                "why": "held by caddy",
                "hint": "stop caddy",
                "left_as": "nothing was changed",
            }
        ],
    }


def test_the_document_has_its_keys_in_order_and_letters_as_they_are() -> None:
    text = result_document("up", Result(Given("/home/ana/übung")), Recorder())
    assert list(json.loads(text)) == [
        "version",
        "command",
        "ok",
        "exit_code",
        "stack",
        "runtime",
        "data",
        "errors",
    ]
    assert "übung" in text


def test_an_error_of_a_program_keeps_its_argv_out_of_the_document() -> None:
    error = CommandFailed("docker failed", argv=("docker", "x"), returncode=1, output="all of it")
    (shown,) = json.loads(result_document("up", Result(errors=(error,)), Recorder()))["errors"]
    assert set(shown) == {"code", "what", "where", "why", "hint", "left_as"}


def test_lines_that_are_piped_are_plain() -> None:
    out = io.StringIO()
    work(TerminalReporter(out))
    assert out.getvalue() == (
        "stack      /s (--stack)\n"
        "  created    secrets      4 generated\n"
        "  unchanged  proxy\n"
        "  warning    port         it is taken\n"
        "  ok         tracking server  answered\n"
        "  failed     artifact store   no such file\n"
        "    Pulling postgres\n"
    )


def test_long_work_that_is_piped_is_one_line() -> None:
    out = io.StringIO()
    with TerminalReporter(out).working("starting services"):
        time.sleep(0.3)
    assert out.getvalue() == "  ...        starting services\n"


def test_lines_on_a_terminal_are_coloured_by_what_they_mean() -> None:
    out = Terminal()
    work(TerminalReporter(out))
    text = out.getvalue()
    assert "\x1b[32mcreated   \x1b[0m secrets" in text
    assert "\x1b[2munchanged \x1b[0m proxy" in text
    assert "\x1b[31mfailed    \x1b[0m artifact store" in text


def test_no_colour_where_the_user_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    work(TerminalReporter(out))
    assert "  created    secrets" in out.getvalue()


def test_a_terminal_that_moves_no_cursor_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    work(TerminalReporter(out))
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()


def test_a_line_of_long_work_stands_on_a_terminal_only_until_the_next() -> None:
    out = Terminal()
    reporter = TerminalReporter(out)
    reporter.line("Pulling " + "x" * 200)
    reporter.step("created", "postgres")
    shown, last = out.getvalue().split("\n")[0].split("\r\x1b[K")[1:]
    assert shown.startswith("  ...        Pulling xxx")
    assert len(shown) == 100
    assert "created" in last


def test_long_work_on_a_terminal_counts_seconds_and_leaves_no_trace() -> None:
    out = Terminal()
    with TerminalReporter(out).working("starting services"):
        time.sleep(0.5)
    frames = out.getvalue().split("\r\x1b[K")
    assert "  ...        starting services (0 s)" in frames
    assert frames[-1] == ""
    assert "\n" not in out.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_work_that_fails_ends_its_line_and_the_error_goes_on(stream: type[io.StringIO]) -> None:
    out = stream()
    with pytest.raises(ProvisionError, match="port 5000"), TerminalReporter(out).working("starting"):
        raise ERROR


def test_every_reporter_keeps_what_it_was_told() -> None:
    for reporter in (Recorder(), TerminalReporter(io.StringIO())):
        work(reporter)
        assert [step.verb for step in reporter.steps] == ["created", "unchanged"]
        assert [check.ok for check in reporter.checks] == [True, False]
        assert reporter.notes == {"stack": "/s (--stack)"}


def test_an_error_for_people_is_what_then_each_known_part_then_the_next_step() -> None:
    assert error_lines(ERROR) == [
        "error: port 5000 is taken",
        "",
        "  where      proxy",
        "  seen       held by caddy",
        "  left as    nothing was changed",
        "",
        "  next: stop caddy",
    ]


def test_an_error_of_which_little_is_known_is_short() -> None:
    assert error_lines(ProvisionError("it failed", left_as="")) == ["error: it failed"]


def test_several_lines_seen_stand_below_each_other() -> None:
    lines = error_lines(ProvisionError("it failed", why="one\ntwo", left_as=""))
    assert lines[2:] == ["  seen       one", "             two"]


def test_faulty_settings_are_shown_fault_by_fault() -> None:
    faults = (SettingsError("provision.yml:1 a"), SettingsError("provision.yml:2 b"))
    assert SettingsError("2 faults", faults=faults).all() == faults
    alone = SettingsError("not UTF-8")
    assert alone.all() == (alone,)


# It would set a window's title, and clear the screen by an 8-bit control.
EVIL, SHOWN = "a\x1b]0;owned\x07\x9b2J\r\tb\x7f", "a\\x1b]0;owned\\x07\\x9b2J\\x0d\tb\\x7f"


def test_control_characters_are_shown_and_text_stays() -> None:
    assert visible(EVIL) == SHOWN
    assert visible("übung 你\n\tend") == "übung 你\n\tend"
    assert visible(b"bad\xff".decode(errors="surrogateescape")) == "bad\\xff"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_no_value_commands_the_terminal(stream: type[io.StringIO]) -> None:
    out = stream()
    reporter = TerminalReporter(out)
    reporter.note("stack", EVIL)
    reporter.step("created", EVIL, EVIL)
    reporter.row(EVIL, EVIL, EVIL)
    reporter.warn(EVIL, EVIL)
    reporter.check(CheckResult(EVIL, True, EVIL))
    reporter.line(EVIL)
    with reporter.working(EVIL):
        time.sleep(0.3)
    assert SHOWN in out.getvalue()
    for raw in ("\x1b]", "\x07", "\x9b", "\x7f", "\r\t"):
        assert raw not in out.getvalue()
