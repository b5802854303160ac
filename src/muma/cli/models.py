"""`muma models`: the trained versions of a recipe, and which of them answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.serving_bundle import version_bundle, versions_of
from muma.app.versions import promoted, rolled_back, state_of
from muma.cli.show import titled
from muma.cli.terminal import Json, Recipe, Set, escaped, friendly, now_us, out, print_json
from muma.events.log_folder import open_log

models = typer.Typer(
    name="models",
    help="Trained versions of a recipe, and which of them answers.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
WHO = "command line"


@models.callback()
def _models() -> None:
    """Trained versions of a recipe, and which of them answers."""


@models.command("list")
@friendly
def list_(recipe: Recipe, set_: Set = None, json: Json = False) -> None:
    """All versions, newest first; works beside a running service.

    Example: muma models list recipes/demo.toml

    Python: muma.app.serving_bundle.versions_of(config).list()
    """
    kept = versions_of(read_recipe(recipe, overrides=set_ or ()))
    listed, pointer = kept.list(), kept.in_force()
    rows = [(one, state_of(one, pointer, listed)) for one in listed]
    if json:
        print_json([
            {"version": one.name, "state": state, "made_at": one.made_at, "metrics": dict(one.metrics)}
            for one, state in rows
        ])  # fmt: skip
        return
    table = titled("versions", "version")
    for column in ("state", "made", "measured"):
        table.add_column(column)
    for one, state in rows:
        made = datetime.fromtimestamp(one.made_at / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
        said = ", ".join(f"{name} {value:.4g}" for name, value in sorted(one.metrics.items()))
        table.add_row(one.name, state, made, escaped(said))
    out.print(table)
    if kept.pointer().live is None:
        out.print("no version was promoted: the newest training answers")


@models.command("promote")
@friendly
def promote(
    recipe: Recipe,
    version: Annotated[str, typer.Argument(help="As `muma models list` shows it.")],
    set_: Set = None,
) -> None:
    """Let the next start of the service answer with a version.

    The gate asks the decisions of a running service, so that it does not stand here: the version is
    only read whole. A running service is asked over HTTP instead.

    Example: muma models promote recipes/demo.toml 3f9a0c12be77

    Python: muma.app.serving_bundle.versions_of(config).point(pointer)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    kept = versions_of(config)
    with kept.changing_by_hand():
        found = kept.get(version)
        pointer = promoted(kept.in_force(), version, at=now_us(), who=WHO)
        version_bundle(config, open_log(config.folder / "log"), found)
        kept.point(pointer)
    out.print(f"version {escaped(version)} answers from the next start on; no gate was asked")


@models.command("rollback")
@friendly
def roll_back(recipe: Recipe, set_: Set = None) -> None:
    """Let the next start of the service answer with the version before.

    Example: muma models rollback recipes/demo.toml

    Python: muma.app.serving_bundle.versions_of(config).point(pointer)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    kept = versions_of(config)
    with kept.changing_by_hand():
        pointer = rolled_back(kept.pointer(), at=now_us(), who=WHO)
        version_bundle(config, open_log(config.folder / "log"), kept.get(str(pointer.live)))
        kept.point(pointer)
    out.print(f"version {escaped(str(pointer.live))} answers from the next start on")
