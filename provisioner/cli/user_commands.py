"""Commands about the users of a stack with a login."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from provisioner.cli.next_steps import Command
from provisioner.cli.prompts import new_password
from provisioner.cli.run import Output, OutputOption, StackOption, run

users = typer.Typer(
    help="Users of a stack with a login, and what they may do.", no_args_is_help=True, rich_markup_mode=None
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.", show_default=False)]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Take the password from the first line of standard input.")
]
GenerateOption = Annotated[bool, typer.Option("--generate", help="Make a password, and show it this once.")]


class PermissionName(str, Enum):
    """What a user may do with one experiment or model."""

    read = "READ"
    edit = "EDIT"
    manage = "MANAGE"
    nothing = "NO_PERMISSIONS"
    default = "DEFAULT"


@users.command(cls=Command)
def add(
    name: NameArgument,
    admin: Annotated[bool, typer.Option("--admin", help="May do everything, and change users.")] = False,
    password_stdin: StdinOption = False,
    generate: GenerateOption = False,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Add a user; the password is asked for."""
    from provisioner.actions.users import add_user

    ask = new_password(password_stdin, generate)
    run("user add", output, lambda reporter: add_user(stack, name, admin, ask, reporter))


@users.command(name="list", cls=Command)
def list_(stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """Show every user, and what was granted to whom."""
    from provisioner.actions.users import list_users

    run("user list", output, lambda reporter: list_users(stack, reporter))


@users.command(cls=Command)
def remove(name: NameArgument, stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """Remove a user at once; what the user logged stays."""
    from provisioner.actions.users import remove_user

    run("user remove", output, lambda reporter: remove_user(stack, name, reporter))


@users.command(cls=Command)
def passwd(
    name: NameArgument,
    password_stdin: StdinOption = False,
    generate: GenerateOption = False,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Change a user's password at once; the new one is asked for."""
    from provisioner.actions.users import change_password

    ask = new_password(password_stdin, generate)
    run("user passwd", output, lambda reporter: change_password(stack, name, ask, reporter))


@users.command(cls=Command)
def grant(
    name: NameArgument,
    permission: Annotated[
        PermissionName, typer.Option(help="What the user may do; DEFAULT takes back what was granted.")
    ],
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME_OR_ID", help="On this experiment.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="On this registered model.", show_default=False)
    ] = None,
    stack: StackOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Say what a user may do with one experiment or registered model."""
    from provisioner.actions.users import grant_permission

    if (experiment is None) == (model is None):
        raise typer.BadParameter("give one of --experiment and --model")
    run(
        "user grant",
        output,
        lambda reporter: grant_permission(stack, name, permission.value, experiment, model, reporter),
    )


def credentials(stack: StackOption = None, output: OutputOption = Output.text) -> None:
    """Print the admin's login."""
    from provisioner.actions.users import show_credentials

    run("credentials", output, lambda reporter: show_credentials(stack, reporter))
