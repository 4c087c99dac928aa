"""Commands about Kedro projects and other clients of a stack."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from provisioner.cli.prompts import known_password
from provisioner.cli.run import Output, OutputOption, StackOption, confirming, run


class LoginPlace(str, Enum):
    """Where a login goes."""

    credentials = "credentials"
    environment = "environment"
    file = "file"


class OldLogin(str, Enum):
    """What becomes of a login for another server."""

    keep = "keep"
    remove = "remove"


ProjectArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="PROJECT", help="The Kedro project; the one you are in when absent.", show_default=False
    ),
]

PythonOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        exists=True,
        help="The project's own interpreter, or its environment's directory, which is asked what Kedro "
        "uses; absent: the one of an earlier link, of the active environment, or the project's .venv.",
        show_default=False,
    ),
]

UriOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="A tracking URI in place of this stack's; no stack is needed then.",
        show_default=False,
    ),
]

CaFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Private certificates (PEM) to trust the server by; absent: those of this stack.",
        show_default=False,
    ),
]

LoginOption = Annotated[
    LoginPlace,
    typer.Option(
        help="Where the login goes: the project's `credentials.yml`; your shell, for which lines are printed "
        "that ask for the password; or `~/.mlflow/credentials`, which has room for one login for all servers."
    ),
]

OldLoginOption = Annotated[
    OldLogin | None,
    typer.Option(
        help="What becomes of a login that `mlflow.yml` names and that was made for another server: it is "
        "sent to this one, or taken out of `mlflow.yml` until `unlink`. Absent: you are asked, or, "
        "where nobody can be, nothing is changed.",
        show_default=False,
    ),
]


def link(
    project: ProjectArgument = None,
    uri: UriOption = None,
    env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The Kedro environment to write to.", show_default=False),
    ] = None,
    python: PythonOption = None,
    ca_file: CaFileOption = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Your login on the server; the password is asked for.", show_default=False
        ),
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Take the password from the first line of standard input."),
    ] = False,
    login: LoginOption = LoginPlace.credentials,
    old_login: OldLoginOption = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not ask the server first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change; write nothing.")] = False,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Write the tracking URI into a Kedro project's mlflow.yml. Then prove that Kedro reads it."""
    from provisioner.actions.link import LinkOptions, link_project

    ask = known_password(password_stdin)
    options = LinkOptions(
        project or Path.cwd(), uri, env, python, ca_file, dry_run, user, login.value, ask, not no_check
    )
    decision = old_login.value if old_login else None
    options = replace(options, old_login=decision, confirm=confirming(output))  # type: ignore[arg-type]
    run("link", output, lambda reporter: link_project(stack, options, reporter))


def unlink(
    project: ProjectArgument = None, stack: StackOption = None, output: OutputOption = Output.text
) -> None:
    """Give a Kedro project's files back as they were before link."""
    from provisioner.actions.unlink import unlink_project

    run("unlink", output, lambda reporter: unlink_project(project or Path.cwd(), reporter))


def env(
    uri: UriOption = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Your login, in place of the admin's of this stack; the shell asks for the password.",
            show_default=False,
        ),
    ] = None,
    ca_file: CaFileOption = None,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Print lines for a shell: eval "$(provision env)". They are for code that is no Kedro project."""
    from provisioner.actions.env import ShellOptions, shell_lines

    options = ShellOptions(uri, user, ca_file)
    run("env", output, lambda reporter: shell_lines(stack, options, reporter))


def doctor(
    project: ProjectArgument = None,
    python: PythonOption = None,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Say what a `kedro run` would use, and whether it works. Each environment is looked at."""
    from provisioner.actions.doctor import diagnose

    run("doctor", output, lambda reporter: diagnose(project, python, stack, reporter))


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the demo project is made.")] = Path(
        "mlflow-demo"
    ),
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Make a small Kedro project, link it, and run it. It runs three times; what to look at is said."""
    from provisioner.actions.demo import demo as action

    run("demo", output, lambda reporter: action(directory, stack, reporter))
