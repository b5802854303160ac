"""`muma inspect`: a user's vector and what is behind it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.inspection import inspect_user
from muma.cli.show_features import show_inspection
from muma.cli.terminal import Json, Recipe, Set, friendly, moment_us, print_json


@friendly
def inspect(
    recipe: Recipe,
    user: Annotated[str, typer.Argument(help="The user's own id.")],
    item: Annotated[
        str | None, typer.Option("--item", "-i", help="Also features of this item and of the pair.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Moment in UTC, ISO 8601; default: now in the state.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also values without an event.")] = False,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Show a user's features: each value with its window and the newest events behind it.

    Reads the state that `muma stream` keeps, while it runs or after. Moments before the newest
    event can be shown exactly only by `muma features`.

    Example: muma inspect recipes/demo.toml 3911 --item 1182

    Python: muma.app.inspection.inspect_user(config, "3911")
    """
    config = read_recipe(recipe, overrides=set_ or ())
    found = inspect_user(config, user, item=item, at_us=None if at is None else moment_us(at))
    if json:
        print_json(asdict(found))
        return
    show_inspection(found, every=every)
