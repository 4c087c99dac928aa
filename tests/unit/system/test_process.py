"""The one door to processes: what a program gave, or one of four clear errors."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from provisioner.errors import CommandFailed
from provisioner.system.process import Completed, Identity, attach, run, stream
from provisioner.system.streams import pipe, reading

PYTHON = sys.executable
# Linux has signals without a name; macOS has none.
UNNAMED = [(signal.SIGRTMIN + 2, f"signal {signal.SIGRTMIN + 2}")] if hasattr(signal, "SIGRTMIN") else []
SIGNALS = [(signal.SIGKILL, "SIGKILL"), (signal.SIGTERM, "SIGTERM"), *UNNAMED]


def python(code: str) -> list[str]:
    return [PYTHON, "-c", code]


def failure(argv: list[str], **options: object) -> CommandFailed:
    with pytest.raises(CommandFailed) as caught:
        run(argv, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 5
    return caught.value


def test_a_program_gives_its_code_and_both_of_its_streams() -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr)"))
    assert (done.code, done.stdout, done.stderr) == (0, b"out\n", b"err\n")
    assert (done.text, done.error_text) == ("out", "err")


def test_a_program_gets_its_input_directory_and_environment_and_no_other(tmp_path: Path) -> None:
    code = "import os,sys; print(sys.stdin.read(), os.getcwd(), os.environ.get('A'), os.environ.get('HOME'))"
    done = run(python(code), stdin=b"in", cwd=tmp_path, env={"A": "b"})
    assert done.text == f"in {tmp_path} b None"


def test_bytes_that_are_no_text_do_not_hurt() -> None:
    assert run(python(r"import sys; sys.stdout.buffer.write(b'\xff\n')")).text == "\ufffd"


def test_a_code_that_is_not_0_is_an_error_with_the_last_lines() -> None:
    error = failure(python("import sys; [print(n, file=sys.stderr) for n in range(50)]; sys.exit(3)"))
    assert error.what == f"{PYTHON} failed with exit code 3"
    assert error.returncode == 3
    assert error.why.splitlines() == [str(n) for n in range(30, 50)]
    assert len(error.output.splitlines()) == 50
    assert error.where.startswith(f"{PYTHON} -c ")
    assert error.left_as == "what it did before that stays"


def test_a_code_that_is_not_0_is_an_answer_when_the_caller_says_so() -> None:
    assert run(python("raise SystemExit(3)"), check=False) == Completed(
        (*python("raise SystemExit(3)"),), 3, b"", b""
    )


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("number", "name"), SIGNALS)
def test_a_killed_program_is_never_an_answer(check: bool, number: int, name: str) -> None:
    error = failure(python(f"import os; os.kill(os.getpid(), {int(number)})"), check=check)
    assert error.what == f"{PYTHON} was killed by {name}"
    assert error.returncode == -number


def test_a_program_that_takes_too_long_is_ended_and_said() -> None:
    started = time.monotonic()
    # On a busy machine too it is there for long before its time is over.
    error = failure(["/bin/sh", "-c", "echo busy >&2; exec sleep 60"], timeout=2)
    assert time.monotonic() - started < 30
    assert "did not end within" in error.what
    assert error.returncode is None
    assert error.why.strip() == "busy"


NOT_STARTED = {
    "a program that is not there": (["no-such-program"], "the program no-such-program is not there", "PATH"),
    "a program below a file": (["/dev/null/x"], "the program /dev/null/x is not there", "PATH"),
    "a directory": (["/"], "/ may not be executed", "permissions"),
}


@pytest.mark.parametrize("case", NOT_STARTED)
def test_a_program_that_cannot_be_started_is_said_with_a_way_out(case: str) -> None:
    argv, what, hint = NOT_STARTED[case]
    error = failure(argv)
    assert error.what == what
    assert hint in error.hint
    assert error.returncode is None
    assert error.left_as == "nothing was changed"


def test_a_file_that_is_no_program_is_said(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"\x00\x01\x02")
    file.chmod(0o755)
    assert failure([str(file)]).what == f"{file} cannot be started: Exec format error"


@pytest.mark.parametrize("kind", ["absent", "file"])
def test_a_directory_that_is_not_there_is_not_taken_for_the_program(tmp_path: Path, kind: str) -> None:
    directory = tmp_path / "x"
    if kind == "file":
        directory.touch()
    assert failure(python("0"), cwd=directory).what == f"the directory {directory} does not exist"
    with pytest.raises(CommandFailed, match="does not exist"):
        stream(python("0"), print, cwd=directory)


def test_streamed_lines_come_while_the_program_runs_and_are_kept_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    seen: list[tuple[str, float]] = []
    code = "import sys,time; print('one', flush=True); time.sleep(0.6); print('two', file=sys.stderr)"
    stream(python(code), lambda line: seen.append((line, time.monotonic())), log=log)
    assert [line for line, _ in seen] == ["one", "two"]
    assert seen[1][1] - seen[0][1] > 0.3
    assert log.read_text() == "before\none\ntwo\n"


def test_a_streamed_program_that_fails_is_an_error_with_its_last_lines_and_log(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        stream(
            python("[print(n) for n in range(30)]; raise SystemExit(2)"), lambda _: None, log=tmp_path / "log"
        )
    assert caught.value.what == f"{PYTHON} failed with exit code 2"
    assert caught.value.why.splitlines() == [str(n) for n in range(10, 30)]
    assert caught.value.log == str(tmp_path / "log")


@pytest.mark.parametrize("argv", [["no-such-program"], ["/dev/null/x"]])
def test_a_streamed_or_attached_program_that_is_not_there_is_said(argv: list[str]) -> None:
    with pytest.raises(CommandFailed, match="is not there"):
        stream(argv, print)
    with pytest.raises(CommandFailed, match="is not there"):
        attach(argv)


def test_an_interrupt_ends_the_streamed_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt(line: str) -> None:
        pid.write_text(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(python("import os,time; print(os.getpid(), flush=True); time.sleep(60)"), interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_an_attached_program_has_the_callers_own_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert attach(python("print('seen'); raise SystemExit(7)")) == 7
    assert capfd.readouterr().out == "seen\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_program_runs_as_whom_it_is_told_with_no_other_groups() -> None:
    argv = ["/bin/sh", "-c", "id -u; id -g; id -G"]
    assert run(argv, cwd=Path("/"), identity=Identity(65534, 65533)).text.split() == [
        "65534",
        "65533",
        "65533",
    ]


def test_a_streamed_program_that_falls_silent_is_ended_and_said() -> None:
    seen: list[str] = []
    with pytest.raises(CommandFailed, match="wrote nothing for 2 s"):
        stream(["/bin/sh", "-c", "echo working; exec sleep 60"], seen.append, silence=2)
    assert seen == ["working"]


def test_a_pipe_hands_everything_over_changed_on_the_way() -> None:
    done = pipe(
        ["sh", "-c", "printf abc"], ["tr", "A", "x"], lambda chunks: (chunk.upper() for chunk in chunks)
    )
    assert done.text == "xBC"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (["sh", "-c", "printf half; echo broken >&2; exit 3"], ["cat"], "sh failed with exit code 3"),
        (
            ["sh", "-c", "while :; do echo more; done"],
            ["sh", "-c", "echo full; exit 4"],
            "sh failed with exit code 4",
        ),
        (["no-such-program"], ["cat"], "no-such-program is not there"),
        (["cat", "/dev/null"], ["no-such-program"], "no-such-program is not there"),
    ],
)
def test_whichever_end_of_a_pipe_failed_first_is_named(
    source: list[str], target: list[str], said: str
) -> None:
    with pytest.raises(CommandFailed, match=said) as caught:
        pipe(source, target, lambda chunks: chunks)
    assert caught.value.why in {"broken", "full", ""}


def test_a_taker_never_takes_half_for_the_whole(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    with pytest.raises(CommandFailed):
        pipe(
            ["sh", "-c", "printf half; exit 3"],
            ["sh", "-c", f"cat >/dev/null && sleep 0.2 && touch {whole}"],
            lambda chunks: chunks,
        )
    assert not whole.exists()


def test_what_a_program_writes_is_read_and_whether_it_failed_is_told() -> None:
    with reading(["sh", "-c", "printf abc"]) as output:
        assert output.read(2) == b"ab"
    with pytest.raises(CommandFailed, match="no-such-program is not there"), reading(["no-such-program"]):
        pass


def not_understood(script: str) -> None:
    with reading(["sh", "-c", script]) as output:
        output.read()
        raise ValueError("no archive")


def test_why_a_reader_has_only_half_is_what_the_program_says() -> None:
    with pytest.raises(CommandFailed, match="sh failed with exit code 3") as caught:
        not_understood("exec 1>&-; sleep 0.2; echo broken >&2; exit 3")
    assert caught.value.why == "broken"


def test_a_reader_that_does_not_understand_what_is_whole_says_so_itself() -> None:
    with pytest.raises(ValueError, match="no archive"):
        not_understood("printf abc")
