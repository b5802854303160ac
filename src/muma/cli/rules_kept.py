"""`muma rules put` and `muma rules show`: the rules that a service obeys, and who changed them."""

from __future__ import annotations

import getpass
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from muma.app.config import AppConfig, read_recipe
from muma.app.streaming import stream_folder
from muma.backends.stream_folder import take_lock
from muma.cli.rules_where import Key, Where, is_address, service_of
from muma.cli.show import titled
from muma.cli.terminal import Json, Set, escaped, friendly, now_us, out, print_json
from muma.errors import StreamError, VersionConflictError
from muma.serving import loading
from muma.serving.rules.ruleset import RuleSet

if TYPE_CHECKING:
    from muma.serving.rules.store import RuleStore


@friendly
def put(
    where: Where,
    file: Annotated[str, typer.Argument(help="TOML file of [[rules]]: the whole set.")],
    version: Annotated[
        str | None,
        typer.Option("--version", help="Only if this version is in force; without it any is."),
    ] = None,
    who: Annotated[
        str | None, typer.Option("--who", help="Who changes them; without it the system's user.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Why.")] = "",
    key: Key = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Put a file of rules in force: checked whole, kept as a new version, the old ones stay.

    With a recipe, the service must not be running; with an address, its next answer obeys (a key with
    the role admin, which stands as the writer).

    Example: muma rules put recipes/demo.toml rules.toml --note "election week"

    Python: muma.serving.rules.store.RuleStore(folder, clock=clock).put(tables, version=..., who=...)
    """
    read = RuleSet.read(file, own=())
    if is_address(where):
        with service_of(where, key) as client:
            new = client.put_rules(read.tables, version=version or "*").version
    else:
        config = read_recipe(where, overrides=set_ or ())
        store = _store(config)
        with closing(_alone(config)):
            before = store.get().version
            if version is not None and version not in (before, before.partition("-")[2]):
                raise VersionConflictError(f"rules of version {before} are in force, not {version}")
            new = store.put(
                read.tables, version=before, who=who or getpass.getuser(), note=note
            ).version
    if json:
        print_json({"version": new, "rules": len(read)})
    else:
        out.print(f"rules of version {new} are in force: {len(read)}")


@friendly
def show(
    where: Where,
    history: Annotated[
        bool, typer.Option("--history", help="Also older versions, with who and when.")
    ] = False,
    key: Key = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Show the rules in force, and with --history (a recipe's only) who changed them when.

    Example: muma rules show recipes/demo.toml --history

    Python: muma.serving.rules.store.RuleStore(folder, clock=clock).current()
    """
    entries = []
    if is_address(where):
        with service_of(where, key) as client:
            held = client.rules()
        version, tables = held.version, held.rules
    else:
        store = _store(read_recipe(where, overrides=set_ or ()))
        entry = store.current()
        version, tables = entry.version, tuple(dict(table) for table in entry.rules)
        entries = store.history() if history else []
    told = [
        {"version": one.version, "who": one.who, "at": one.at, "note": one.note,
         "rules": len(one.rules)} for one in entries
    ]  # fmt: skip
    if json:
        print_json(
            {"version": version, "rules": list(tables)} | ({"history": told} if told else {})
        )
        return
    table = titled(f"{len(tables)} rules, version {version}", "id")
    for column in ("kind", "settings"):
        table.add_column(column)
    for one in tables:
        rest = {k: v for k, v in one.items() if k not in ("id", "kind", "use")}
        kind = str(one.get("kind", one.get("use")))
        table.add_row(escaped(str(one["id"])), escaped(kind), escaped(str(rest) if rest else ""))
    out.print(table)
    for one in entries:
        at = datetime.fromtimestamp(one.at / 1e6, tz=UTC).isoformat(timespec="seconds")
        text = f"{one.version}  {at}  {one.who}  {len(one.rules)} rules  {one.note}"
        out.print(escaped(text), soft_wrap=True)


def _store(config: AppConfig) -> RuleStore:
    loading.server()
    from muma.serving.rules.store import RuleStore  # noqa: PLC0415 - its library is an extra

    return RuleStore(config.folder / "rules", clock=now_us)


def _alone(config: AppConfig):  # noqa: ANN202 - a locked file
    """Hold what a running service holds, so that it cannot be running.

    Raises:
        StreamError: it is.
    """
    try:
        return take_lock(stream_folder(config))
    except StreamError:
        raise StreamError(
            f"the service of {config.folder} is running: give its address instead of the recipe"
        ) from None
