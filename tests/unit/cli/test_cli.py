"""The command line itself: exit codes, one document, no traceback, and a quick `--help`."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import provisioner
from provisioner import errors
from provisioner.cli.app import app
from provisioner.cli.run import Output, run
from provisioner.errors import ProvisionError
from provisioner.output import Recorder, Result
from provisioner.system.host import LocalHost
from tests.support.commands import COMMANDS

# What a command cannot do without.
NEEDED = {"name": ["ana"], "permission": ["--permission", "READ"]}
KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ProvisionError)),
    key=lambda kind: kind.exit_code,
)
# Each costs more than the rest of `--help` together.
HEAVY = (
    *[
        "mlflow",
        "boto3",
        "botocore",
        "kedro",
        "pydantic",
        "psycopg2",
        "psutil",
        "yaml",
        "rich",
        "numpy",
        "pandas",
        "minio",
        "uv",
    ],
    *[
        "provisioner.runtimes",
        "provisioner.model",
        "provisioner.kedro",
        "provisioner.stack",
        "provisioner.remote",
    ],
)


@pytest.fixture(autouse=True)
def _no_stack_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PROVISION_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("PROVISION_DEBUG", raising=False)


def provision(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def program(action: Callable[[Recorder], Result], output: Output = Output.text) -> Any:
    """What comes of a command that has this action."""
    one = typer.Typer()
    one.command()(lambda: run("work", output, action))
    return CliRunner().invoke(one, [])


def raising(error: BaseException) -> Callable[[Recorder], Result]:
    def action(reporter: Recorder) -> Result:
        reporter.using(stack="/srv/a (b)", runtime="docker")
        reporter.step("created", "secrets")
        raise error

    return action


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_of_error_has_its_exit_code_in_both_forms(kind: type[ProvisionError]) -> None:
    error = kind("it failed", where="there", hint="fix it")
    text, document = program(raising(error)), program(raising(error), Output.json)
    assert (text.exit_code, document.exit_code) == (kind.exit_code, kind.exit_code)
    assert text.stdout == ""
    assert "error: it failed" in text.stderr
    assert "next: fix it" in text.stderr
    read = json.loads(document.stdout)
    assert (read["ok"], read["exit_code"], read["command"]) == (False, kind.exit_code, "work")
    assert (read["stack"], read["runtime"]) == ("/srv/a (b)", "docker")
    assert read["data"]["steps"] == [{"verb": "created", "subject": "secrets", "detail": ""}]
    assert [error["what"] for error in read["errors"]] == ["it failed"]


def test_the_exit_codes_are_these() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "ProvisionError": 1,
        "Bug": 1,
        "Faults": 1,
        "SettingsError": 3,
        "OtherRelease": 3,
        "PreflightError": 4,
        "PortTaken": 4,
        "CommandFailed": 5,
        "Unhealthy": 6,
        "NotTakenOver": 6,
        "WouldLoseData": 7,
        "Locked": 8,
        "EditRefused": 9,
        "LinkRefused": 9,
        "Declined": 10,
        "Drift": 11,
        "Interrupted": 130,
    }


@pytest.mark.parametrize("output", list(Output))
def test_a_bug_is_code_1_and_one_line_without_a_traceback(output: Output) -> None:
    answer = program(raising(ZeroDivisionError("division by zero")), output)
    assert answer.exit_code == 1
    assert "Traceback" not in answer.output
    said = json.loads(answer.stdout)["errors"][0]["what"] if output is Output.json else answer.stderr
    assert "a bug in provision: ZeroDivisionError: division by zero" in said
    assert "test_cli.py:" in answer.output


def test_a_bug_shows_its_traceback_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_DEBUG", "1")
    answer = program(raising(ZeroDivisionError("x")))
    assert "Traceback" in answer.stderr
    assert answer.exit_code == 1


@pytest.mark.parametrize(
    ("number", "next_step"),
    [
        (errno.EACCES, "as the user who may"),
        (errno.EROFS, "can be written"),
        (errno.ENOSPC, "free some space"),
    ],
)
def test_what_the_machine_refuses_is_no_bug(number: int, next_step: str) -> None:
    answer = program(raising(OSError(number, os.strerror(number), "/srv/stack/logs")))
    assert answer.exit_code == 1
    assert f"error: /srv/stack/logs: {os.strerror(number).lower()}" in answer.stderr
    assert next_step in answer.stderr
    assert "bug" not in answer.stderr
    # What names no file is not known to be the machine's.
    assert "a bug in provision" in program(raising(OSError(number, "x"))).stderr


@pytest.mark.parametrize("output", list(Output))
def test_an_interrupt_is_130_and_says_how_to_go_on(output: Output) -> None:
    answer = program(raising(KeyboardInterrupt()), output)
    assert answer.exit_code == 130
    assert "`provision work` again goes on from here" in answer.output
    assert "what was done so far stays" in answer.output


def test_a_real_interrupt_is_130_and_one_document() -> None:
    code = (
        "import time; from provisioner.cli.run import *\n"
        "def work(reporter):\n    print('ready', file=sys.stderr, flush=True); time.sleep(60)\n"
        "run('up', Output.json, work)"
    )
    wrapped = f"import typer\ndef main():\n    exec({code!r}, {{}})\ntyper.run(main)"
    with subprocess.Popen(
        [sys.executable, "-c", wrapped], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["exit_code"] == 130
    assert "Traceback" not in err


def test_a_result_is_on_stdout_and_all_else_on_stderr() -> None:
    def action(reporter: Recorder) -> Result:
        reporter.note("stack", "/s")
        reporter.step("created", "secrets", "4")
        return Result(lines=("tracking URI  http://x",))

    answer = program(action)
    assert answer.exit_code == 0
    assert answer.stdout == "tracking URI  http://x\n"
    assert "secrets" in answer.stderr


def test_a_result_and_its_errors_command_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ProvisionError("no \x1b[2J", where="\x1b[31mthere", hint="go\x07")
    answer = program(lambda _: Result(lines=("uri\x1b[2J",), errors=(error,)))
    assert answer.stdout == "uri\\x1b[2J\n"
    assert "\\x1b[31mthere" in answer.stderr
    assert "\x1b" not in answer.stderr
    assert "\x07" not in answer.stderr


def test_what_services_wrote_is_as_it_is_in_a_file() -> None:
    assert program(lambda _: Result(lines=("a\x01b",), verbatim=True)).stdout == "a\x01b\n"


def test_a_result_with_a_code_of_its_own_ends_with_it() -> None:
    assert program(lambda _: Result(returncode=3)).exit_code == 3


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_takes_the_common_options_after_its_name(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"--stack", "--output"} <= options
    needed = [
        word for parameter in COMMANDS[name].params if parameter.required for word in NEEDED[parameter.name]
    ]
    COMMANDS[name].make_context(name, [*needed, "--stack", "/s", "--output", "json"])


@pytest.mark.parametrize("option", [["--stack", "/s"], ["--output", "json"]])
def test_options_before_the_command_are_a_usage_error(option: list[str]) -> None:
    answer = provision(*option, "status")
    assert answer.exit_code == 2
    assert "No such option" in answer.output


FAULTY = (
    ["no-such-command"],
    ["up", "--runtime", "podman"],
    ["up", "--output", "xml"],
    ["logs", "--lines", "0"],
)


@pytest.mark.parametrize("arguments", FAULTY, ids=" ".join)
def test_a_faulty_command_line_is_2(arguments: list[str]) -> None:
    assert provision(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["render", "a", "--stack", "b"],
        ["render", "a", "--check", "--stack", "b"],
        ["up", "--project", "a", "--no-link", "--stack", "b"],
        ["user", "passwd", "ana", "--password-stdin", "--generate"],
        ["user", "grant", "ana", "--permission", "READ", "--experiment", "a", "--model", "b"],
    ],
    ids=" ".join,
)
def test_what_excludes_each_other_is_refused_and_nothing_is_made(arguments: list[str]) -> None:
    answer = provision(*arguments)
    assert answer.exit_code == 2
    assert "exclude each other" in answer.output or "give one of" in answer.output
    assert list(Path.cwd().iterdir()) == []


def test_the_version_is_said() -> None:
    answer = provision("--version")
    assert (answer.exit_code, answer.stdout) == (0, f"provision {provisioner.__version__}\n")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_help(name: str) -> None:
    answer = provision(*name.split(), "--help")
    assert answer.exit_code == 0
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("group", [(), ("user",)])
def test_what_a_command_does_is_said_whole_in_the_list_of_commands(group: tuple[str, ...]) -> None:
    listed = (
        CliRunner().invoke(app, [*group, "--help"], env={"COLUMNS": "80"}).output.partition("Commands:")[2]
    )
    assert len(listed.splitlines()) > 3
    assert "..." not in listed


def documents(*arguments: str) -> dict[str, Any]:
    answer = provision(*arguments, "--output", "json")
    document: dict[str, Any] = json.loads(answer.stdout)
    assert document["exit_code"] == answer.exit_code
    assert document["command"] == arguments[0]
    return document


def test_real_commands_end_with_the_code_of_what_they_met(tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    assert documents("status", "--stack", str(stack))["exit_code"] == 6
    assert documents("logs", "--stack", str(stack))["exit_code"] == 6
    assert documents("env", "--stack", str(stack))["exit_code"] == 6
    assert documents("down", "--stack", str(stack))["exit_code"] == 0
    assert documents("erase", "--yes", "--stack", str(stack))["exit_code"] == 0
    assert not stack.exists()
    assert documents("init", "--stack", str(stack))["exit_code"] == 0
    again = documents("init", "--stack", str(stack))
    assert (again["exit_code"], again["stack"]) == (7, str(stack))
    assert documents("render", "--check", "--stack", str(stack))["exit_code"] == 11
    assert documents("render", "--stack", str(stack))["exit_code"] == 0
    assert documents("render", "--check", "--stack", str(stack))["exit_code"] == 0
    with LocalHost().lock(stack, "up"):
        assert documents("render", "--stack", str(stack))["exit_code"] == 8
    (stack / "provision.yml").write_text("a: 1\nb: 2\n")
    faulty = documents("up", "--stack", str(stack))
    assert (faulty["exit_code"], len(faulty["errors"])) == (3, 2)
    (stack / "state.json").write_text("{")
    (stack / "provision.yml").write_text("")
    assert documents("status", "--stack", str(stack))["exit_code"] == 1
    assert documents("unlink", str(stack))["exit_code"] == 9


def test_a_stack_directory_that_cannot_be_made_is_an_error_and_no_bug(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    document = documents("render", "--stack", str(tmp_path / "file" / "stack"))
    assert document["exit_code"] == 1
    assert "cannot be written" in document["errors"][0]["what"]


def test_the_schema_is_printed_for_editors() -> None:
    assert json.loads(provision("schema").stdout) == documents("schema")["data"]["schema"]


def test_no_answer_to_a_question_is_a_no() -> None:
    from provisioner.cli.run import confirm

    asked = typer.Typer()
    asked.command()(lambda: print(confirm("Sure?")))
    for given, said in (("", "False"), ("n\n", "False"), ("y\n", "True")):
        assert CliRunner().invoke(asked, [], input=given).stdout.split()[-1] == said


def imported_by(*command_lines: str) -> set[str]:
    """What one process that runs all of them has loaded of what is heavy."""
    code = (
        "import json, sys\n"
        "from provisioner.cli.app import app\n"
        f"for line in {command_lines!r}:\n"
        "    try:\n        app(line.split())\n"
        "    except SystemExit as end:\n        assert not end.code, line\n"
        f"print('\\n' + json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(provisioner.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_and_version_load_nothing_heavy() -> None:
    assert imported_by("--help", "--version") == set()


def test_the_help_of_commands_loads_nothing_heavy_of_ours() -> None:
    # Typer itself converts a command's values with pydantic in its newer versions.
    assert imported_by(*(f"{name} --help" for name in COMMANDS)) <= {"pydantic"}


def test_what_is_heavy_would_be_noticed() -> None:
    assert {"pydantic", "provisioner.model"} <= imported_by("schema")
