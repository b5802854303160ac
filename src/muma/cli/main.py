"""`muma`: the commands, gathered."""

from __future__ import annotations

import typer

from muma import __version__
from muma.cli.demo import demo
from muma.cli.doctor import doctor
from muma.cli.drift import drift
from muma.cli.evaluate import evaluate
from muma.cli.explain import explain
from muma.cli.features import features
from muma.cli.ingest import ingest
from muma.cli.inspect import inspect
from muma.cli.loadtest import loadtest
from muma.cli.match import match
from muma.cli.models import models
from muma.cli.ope import ope
from muma.cli.policy import policy
from muma.cli.recommend import recommend
from muma.cli.rules import rules
from muma.cli.serve import keys, replay, serve
from muma.cli.stream import stream
from muma.cli.terminal import out
from muma.cli.train import train
from muma.cli.validate import validate

app = typer.Typer(
    name="muma",
    help="Recommendations for media companies that prove what they did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    demo, ingest, validate, features, stream, inspect, evaluate, train, recommend, explain, drift, serve, replay, loadtest, match, ope,
    doctor,
)  # fmt: skip
for command in COMMANDS:
    app.command(command.__name__)(command)
app.add_typer(policy, name="policy")
app.add_typer(rules, name="rules")
app.add_typer(keys, name="keys")
app.add_typer(models, name="models")


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
