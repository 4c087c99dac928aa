"""The Typer app with every command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import provisioner
from provisioner.cli import project_commands, stack_commands, user_commands
from provisioner.cli.next_steps import Command
from provisioner.cli.streams import standard_streams


class _Program(typer.Typer):
    """Typer's app, on standard streams that may be closed, full or broken."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        with standard_streams():
            return super().__call__(*arguments, **options)


# Typer's Rich help costs more than the rest of `--help` together.
app = _Program(
    name="provision",
    help="A complete MLflow tracking stack with one command, and Kedro projects that use it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"provision {provisioner.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run a complete MLflow tracking stack with one command, and Kedro projects that use it."""


for command in (
    stack_commands.up,
    stack_commands.deploy,
    stack_commands.down,
    stack_commands.status,
    stack_commands.open_,
    stack_commands.logs,
    stack_commands.init,
    stack_commands.render,
    stack_commands.erase,
    stack_commands.schema,
    project_commands.link,
    project_commands.unlink,
    project_commands.env,
    project_commands.doctor,
    project_commands.demo,
    user_commands.credentials,
):
    app.command(name=command.__name__.rstrip("_"), cls=Command)(command)
app.command(cls=Command, context_settings={"ignore_unknown_options": True})(stack_commands.psql)
# What Compose calls it.
app.command(name="ps", hidden=True, cls=Command)(stack_commands.status)
app.add_typer(user_commands.users, name="user")
