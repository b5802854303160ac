"""`muma rules`: is a file of editors' rules right, do its rules agree; and what is in force."""

from __future__ import annotations

from typing import Annotated

import typer

from muma.app.config import read_recipe
from muma.artifact import exists
from muma.cli.rules_kept import put, show
from muma.cli.rules_preview import preview
from muma.cli.show import titled
from muma.cli.terminal import Json, err, escaped, friendly, out, print_json
from muma.errors import ConfigError
from muma.events.log_folder import open_log
from muma.serving.catalogue import item_facts
from muma.serving.facts import ItemFacts
from muma.serving.rules.conflicts import conflicts
from muma.serving.rules.ruleset import RuleSet

rules = typer.Typer(
    name="rules",
    help="The editors' rules: what may be shown, and what must be.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@rules.callback()
def _rules() -> None:
    """The editors' rules: what may be shown, and what must be."""


@rules.command("check")
@friendly
def check(
    file: Annotated[str, typer.Argument(help="TOML file of [[rules]].")],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Also check against the items of this recipe's log."),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=10_000, help="Slots of a list, for shares.")
    ] = 10,
    json: Json = False,
) -> None:
    """Say all that is wrong with a file of rules: errors first, and rules that cannot all be kept.

    Exit code 0 when nothing is, 1 for conflicts, 2 for errors.

    Example: muma rules check rules.toml --recipe recipes/demo.toml

    Python: muma.serving.rules.conflicts.conflicts(RuleSet.read(file).rules, facts)
    """
    read = RuleSet.read(file)
    facts = None if recipe is None else _facts(recipe)
    found = conflicts(read.rules, facts, count=count)
    if json:
        told = [{"rules": list(one.rules), "text": one.text} for one in found]
        print_json({"version": read.version, "rules": len(read), "conflicts": told})
    else:
        table = titled(f"{len(read)} rules, version {read.version}", "id")
        table.add_column("kind")
        table.add_column("effect")
        for rule, plain in zip(read.rules, read.tables, strict=True):
            kind = str(plain.get("kind", plain.get("use")))
            table.add_row(
                escaped(rule.id), escaped(kind), rule.effect if rule.config.enabled else "disabled"
            )
        out.print(table)
        for one in found:
            ids = escaped(", ".join(one.rules))
            err.print(f"[bold red]conflict:[/] {ids}: {escaped(one.text)}", soft_wrap=True)
        if not found:
            out.print("no conflicts")
    if found:
        raise typer.Exit(1)


rules.command("preview")(preview)
rules.command("put")(put)
rules.command("show")(show)


def _facts(recipe: str) -> ItemFacts:
    config = read_recipe(recipe)
    if not exists(config.folder / "log"):
        raise ConfigError(
            f"there is no log in {config.folder} yet; run `muma ingest {recipe}` first"
        )
    return item_facts(open_log(config.folder / "log"))
