"""`kedro provision COMMAND` in a project that has this package: the same commands, as a plugin of Kedro."""

from __future__ import annotations

# Kedro's own library: it loads this module, and asks for a group of that library, whatever Typer is built on.
import click

# The arguments go on as they are: parsed, explained and refused in one place.
_AS_THEY_ARE = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_COMMANDS = {
    "up": "Bring the tracking stack up, check it, and link this project.",
    "link": "Write the tracking URI into this project's mlflow.yml.",
    "status": "Show the stack's services, versions, addresses and disk use.",
    "doctor": "Say what a `kedro run` would use, and whether it works.",
}


@click.group(name="Provision")
def commands() -> None:
    """Group the commands that Kedro adds to its own."""


@commands.group()
def provision() -> None:
    """Manage an MLflow tracking stack for this project; `provision --help` has more."""


def _forward(name: str, text: str) -> None:
    @provision.command(name=name, short_help=text, context_settings=_AS_THEY_ARE)
    @click.pass_context
    def forward(context: click.Context) -> None:
        # Kedro imports this module with every command of its own.
        from provisioner.cli.app import app

        app([name, *context.args], prog_name="kedro provision")


for _name, _text in _COMMANDS.items():
    _forward(_name, _text)
