"""`muma`: the commands, gathered; the module of a command is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from muma import __version__
from muma.cli.terminal import out

COMMANDS = (
    "demo", "ingest", "validate", "features", "stream", "inspect", "evaluate", "train", "recommend",
    "explain", "drift", "serve", "replay", "loadtest", "match", "ope", "doctor", "policy", "rules",
    "keys", "models",
)  # fmt: skip
BESIDE = {"replay": "serve", "keys": "serve"}
"""Commands that stand in the module of another one."""


class Commands(TyperGroup):
    """Finds a command by its name, in the module of that name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - always the same
        """All names, in the order of `muma --help`."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:  # noqa: ARG002
        """The command of a name; None for no such name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"muma.cli.{BESIDE.get(cmd_name, cmd_name)}")
        found = getattr(module, cmd_name)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(cmd_name)(found)
        return cast("TyperCommand", get_command(alone))


app = typer.Typer(
    name="muma",
    cls=Commands,
    help="Recommendations for media companies that prove what they did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Recommendations for media companies that prove what they did."""


def run() -> None:
    """Entry point of the `muma` command."""
    app()
