"""`muma validate`: would these files pass?"""

from __future__ import annotations

from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.app.validation import validate_files
from muma.cli.show import show_validation
from muma.cli.terminal import Json, Set, friendly, print_json, progress_bars
from muma.config import parse_assignments


@friendly
def validate(
    files: Annotated[list[str], typer.Argument(help="Files, globs or folders of events.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Take the column mapping from this recipe.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", metavar="NAME=COLUMN", help="Map a column.")
    ] = None,
    constant: Annotated[
        list[str] | None, typer.Option("--constant", metavar="NAME=VALUE", help="Fill a column.")
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option("--time-unit", help="s, ms, us, ns or iso.")
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Check files of events against the schema without writing anything; exit code 2 if rows fail.

    Columns keep their names unless mapped.

    Example: muma validate 'logs/*.csv.gz' --column user_id=uid --constant domain=news --time-unit ms

    Python: muma.app.validation.validate_files(files, columns=..., constants=...)
    """
    mapping = read_recipe(recipe, overrides=set_ or ()).events.source if recipe else None
    with progress_bars(quiet=json):
        found = validate_files(
            files,
            source=mapping,
            columns=parse_assignments(column or (), option="--column"),
            constants=parse_assignments(constant or (), option="--constant"),
            time_unit=time_unit,
        )
    if json:
        print_json(found.as_json())
    else:
        show_validation(found)
    if found.quarantined:
        raise typer.Exit(2)
