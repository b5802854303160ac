"""`muma rules preview`: what a file of rules would change for some users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muma.app.config import read_recipe
from muma.cli.rules_where import Key, Where, is_address, service_of
from muma.cli.show import titled
from muma.cli.terminal import Json, Set, err, escaped, friendly, out, print_json
from muma.errors import ConfigError
from muma.serving import loading
from muma.serving.rules.ruleset import RuleSet

if TYPE_CHECKING:
    from muma.serving.http.answers import ChangeBody, PreviewBody

SOME = 20


@friendly
def preview(
    where: Where,
    file: Annotated[str, typer.Argument(help="TOML file of [[rules]].")],
    users: Annotated[
        str | None,
        typer.Option("--users", help=f"Ids, joined by commas; without it {SOME} known users."),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=200, help="Slots of a list.")] = 10,
    key: Key = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Say what other rules would change: per user the list before and after, and which rule did it.

    Nothing is changed or kept. With a recipe, the service must not be running: one process at a time
    opens its state; with an address, the running service answers (a key with the role write).

    Example: muma rules preview recipes/demo.toml rules.toml --users 12,345

    Python: muma.app.service.rules_preview.preview_recipe(config, rules, users, count=10)
    """
    loading.server()
    named = tuple(name.strip() for name in (users or "").split(",") if name.strip())
    if len(named) > 100 or (users is not None and not named):
        raise ConfigError(f"--users names {len(named)} users; from 1 to 100 can be asked for")
    read = RuleSet.read(file)
    if is_address(where):
        if not named:
            raise ConfigError("a running service needs to be told for whom: give --users")
        with service_of(where, key) as client:
            found = client.preview_rules(read.tables, named, count=count)
    else:
        found = _offline(where, set_, read, named, count)
    if json:
        print_json(found.plain())
        return
    for one in found.changes:
        _show(one)
    for conflict in found.conflicts:
        ids = escaped(", ".join(conflict.rules))
        err.print(f"[bold red]conflict:[/] {ids}: {escaped(conflict.text)}", soft_wrap=True)
    if found.untried:
        err.print(f"{len(found.untried)} changed rules were not tried as causes", soft_wrap=True)
    out.print(
        f"{found.changed} of {len(found.changes)} lists would change; rules {found.before} -> "
        f"{found.after}, {len(found.differ)} of them differ"
    )


def _offline(
    recipe: str, set_: list[str] | None, rules: RuleSet, users: tuple[str, ...], count: int
) -> PreviewBody:
    from muma.app.service.rules_preview import preview_recipe  # noqa: PLC0415 - an extra's libraries

    config = read_recipe(recipe, overrides=set_ or ())
    return preview_recipe(config, rules, users, count=count, most_users=SOME)


def _show(one: ChangeBody) -> None:
    stranger = "" if one.known else " (nothing is known of this user)"
    if one.before == one.after:
        out.print(f"{escaped(one.user)}{stranger}: no change", soft_wrap=True)
        return
    table = titled(f"{escaped(one.user)}{stranger}", "slot")
    for column in ("before", "after", "what changes for it", "by"):
        table.add_column(column)
    moves = {each.item: each for each in (*one.come, *one.moved)}
    for slot in range(max(len(one.before), len(one.after))):
        before, after = (
            items[slot] if slot < len(items) else "" for items in (one.before, one.after)
        )
        move = moves.get(after)
        what, by = "", ""
        if move is not None:
            what = "comes" if move.before is None else f"moves from slot {move.before}"
            by = ", ".join(move.rules)
        table.add_row(str(slot), *(escaped(text) for text in (before, after, what, by)))
    out.print(table)
    for each in one.gone:
        by = f", by {', '.join(each.rules)}" if each.rules else ", by several together"
        out.print(f"  gone: {escaped(each.item)} (slot {each.before}){escaped(by)}", soft_wrap=True)
