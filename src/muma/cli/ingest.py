"""`muma ingest`: raw files to a clean event log."""

from __future__ import annotations

from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.ingestion import prepare
from muma.cli.show import show_ingest
from muma.cli.terminal import Json, Recipe, Set, friendly, now_us, print_json, progress_bars


@friendly
def ingest(
    recipe: Recipe,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Folder of the log; default RUN/log.")
    ] = None,
    ids_from: Annotated[
        str | None,
        typer.Option(metavar="LOG", help="Keep the indices of an earlier log's users and items."),
    ] = None,
    again: Annotated[bool, typer.Option(help="Ingest even if nothing changed.")] = False,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Read, validate, clean and order a source; write the Parquet log, its quarantine and report.

    Example: muma ingest recipes/kuairand.toml --output logs/kuairand

    Python: muma.app.ingestion.prepare(config.events, folder)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    folder = output or str(config.folder / "log")
    with progress_bars(quiet=json):
        done = prepare(config.events, folder, now_us=now_us(), again=again, ids_from=ids_from)
    if json:
        print_json({"folder": folder, "reused": done.reused, **done.report})
        return
    show_ingest(done.report, folder=folder, reused=done.reused)
