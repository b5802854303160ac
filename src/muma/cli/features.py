"""`muma features`: features as of past moments, into Parquet."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.features import compile_features, materialise_recipe
from muma.cli.show_features import show_definitions, show_materialised
from muma.cli.terminal import Json, Recipe, Set, friendly, now_us, print_json, progress_bars


@friendly
def features(
    recipe: Recipe,
    rows: Annotated[
        str | None,
        typer.Option("--rows", help="Parquet or CSV of user_id, item_id, timestamp (us)."),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="Without --rows: read at every event of this kind.")
    ] = "impression",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Read at so many rows, drawn evenly.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Folder of the table; default RUN/features."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List the columns and what each reads; write nothing.")
    ] = False,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Materialise the recipe's features as of past moments; a row sees only what came before it.

    Example: muma features recipes/demo.toml --limit 10000

    Python: muma.app.features.materialise_recipe(config, limit=10_000)
    """
    config = read_recipe(recipe, overrides=set_ or ())
    if show:
        show_definitions(compile_features(config), as_json=json)
        return
    began = time.perf_counter()
    with progress_bars(quiet=json):
        report = materialise_recipe(
            config, rows=rows, kind=kind, limit=limit, output=output, now_us=now_us()
        )
    report["seconds"] = round(time.perf_counter() - began, 2)
    if json:
        print_json(report)
        return
    show_materialised(report)
