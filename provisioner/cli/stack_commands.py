"""Commands that make, show and end a stack."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from provisioner.cli.run import Output, OutputOption, StackOption, confirm, confirming, run
from provisioner.output import visible


class RuntimeName(str, Enum):
    """What runs the services."""

    docker = "docker"
    embedded = "embedded"


HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="NAME",
        help="The name of the stack's server, in place of typing it.",
        show_default=False,
    ),
]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]

# What `deploy` takes.
HostArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="HOST",
        help="[USER@]HOST, as for ssh; the one of provision.yml when absent.",
        show_default=False,
    ),
]

DomainOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The name that people type; a public one gets `server.tls: acme`, others `internal`.",
    ),
]

PortOption = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="The proxy's port; 443 when absent.", show_default=False),
]

DomainElsewhereOption = Annotated[
    bool,
    typer.Option(
        "--domain-elsewhere",
        help="The domain leads to something that forwards ports 80 and 443 to the server.",
    ),
]

ShipImagesOption = Annotated[
    bool,
    typer.Option(
        "--ship-images",
        help="Send what the server lacks of its images from this machine's Docker, "
        "for a server without a registry.",
    ),
]

BreakLockOption = Annotated[
    bool,
    typer.Option("--break-lock", help="End a command of another admin that holds the stack; it says whose."),
]


def up(
    stack: StackOption = None,
    runtime: Annotated[
        RuntimeName | None,
        typer.Option(help="What runs the stack; fixed at the first `up`.", show_default=False),
    ] = None,
    project: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="A Kedro project to link in place of the one you are in; may be given again.",
            show_default=False,
        ),
    ] = None,
    no_link: Annotated[bool, typer.Option("--no-link", help="Link no Kedro project.")] = False,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Bring the stack up, check it, link the project you are in."""
    from provisioner.actions.up import UpOptions
    from provisioner.actions.up import up as action

    if project and no_link:
        raise typer.BadParameter("--project and --no-link exclude each other")
    kind = runtime.value if runtime else None
    options = UpOptions(stack, kind, tuple(project or ()), not no_link, dry_run, confirming(output))  # type: ignore[arg-type]
    run("up", output, lambda reporter: action(options, reporter))


def deploy(
    host: HostArgument = None,
    domain: DomainOption = None,
    port: PortOption = None,
    domain_elsewhere: DomainElsewhereOption = False,
    ship_images: ShipImagesOption = False,
    break_lock: BreakLockOption = False,
    dry_run: DryRunOption = False,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Set up or change a team's stack on a server, over SSH."""
    from provisioner.actions.deploy import DeployOptions
    from provisioner.actions.deploy import deploy as action

    options = DeployOptions(host, domain, port, stack, domain_elsewhere, ship_images, break_lock, dry_run)
    run("deploy", output, lambda reporter: action(options, reporter))


def down(host: HostOption = None, stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """End the stack's services; all data stays."""
    from provisioner.actions.down import down as action

    run("down", output, lambda reporter: action(stack, host, _ask_name, reporter))


def status(stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """Show services, addresses, disk use and linked projects."""
    from provisioner.actions.status import status as action

    run("status", output, lambda reporter: action(stack, reporter))


def open_(stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """Open the stack's page in your browser."""
    from provisioner.actions.open import open_page

    run("open", output, lambda reporter: open_page(stack, reporter))


def logs(
    service: Annotated[
        str | None,
        typer.Argument(metavar="SERVICE", help="One service; all when absent.", show_default=False),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Go on until interrupted; the exit code is that of `docker compose logs` or `tail`.",
        ),
    ] = False,
    lines: Annotated[int, typer.Option(min=1, help="How many of the last lines.")] = 100,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Show what the services wrote."""
    from provisioner.actions.logs import logs as action

    run("logs", output, lambda reporter: action(stack, service, lines, follow, reporter))


def psql(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARGUMENT", help="What psql takes, such as -c 'SELECT 1'.", show_default=False
        ),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Let transactions change data.")] = False,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Open PostgreSQL's shell on the stack's database. Transactions are read only unless --write."""
    from provisioner.actions.psql import psql as action

    run("psql", output, lambda reporter: action(stack, arguments or [], write, reporter))


def init(stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """Write a provision.yml to edit; `up` needs none."""
    from provisioner.actions.init import init as action

    run("init", output, lambda reporter: action(stack, reporter))


def render(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The stack's directory.", show_default=False)
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Write nothing; exit 11 when a file differs from what the settings give (`.env` is not "
            "compared).",
        ),
    ] = False,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Write the stack's files and secrets, without starting it."""
    from provisioner.actions.render import render as action

    if directory and stack:
        raise typer.BadParameter("DIR and --stack exclude each other: both are the stack's directory")
    run("render", output, lambda reporter: action(directory or stack, check, reporter))


def erase(
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; for a stack on a server it needs `--host`, too.")
    ] = False,
    host: HostOption = None,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Delete the stack with all its data, after asking."""
    from provisioner.actions.erase import EraseOptions
    from provisioner.actions.erase import erase as action

    run(
        "erase", output, lambda reporter: action(EraseOptions(stack, yes, host), confirm, _ask_name, reporter)
    )


def schema(stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """Print the JSON schema of provision.yml, for editors."""
    from provisioner.actions.schema import schema as action

    run("schema", output, lambda reporter: action())


def _ask_name(question: str) -> str:
    """Return what the user types; "" when there is no one to ask."""
    try:
        return str(typer.prompt(visible(question), err=True, default="", show_default=False))
    except typer.Abort:
        return ""
