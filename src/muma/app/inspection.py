"""Why a user's vector is what it is: each value with its window and the events behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from muma.app.config import AppConfig
from muma.app.features import World, open_world
from muma.app.streaming import open_reader, stream_folder
from muma.backends.stream_file import FileStream, FileStreamConfig
from muma.events.stream import STREAM_COLUMNS
from muma.features.activity import components
from muma.features.feature import Cell, Feature
from muma.features.keys import KeyKind
from muma.features.window import AllTime, Decay, Gap, Sliding, Window

PIECE = 200_000
SHOWN = 3  # events shown behind a value


@dataclass(frozen=True)
class Behind:
    """An event behind a value."""

    time_us: int
    kind: str
    user: int | str
    item: int | str | None
    dwell_ms: int | None


@dataclass(frozen=True)
class Value:
    """One column of the vector.

    Attributes:
        column, value: the feature; None when there is no value.
        window: which events count, in words.
        start_us: first moment that counts; None when all time does, or the session says.
        count: events behind the value, of all its partials.
        newest: at most three of them, newest first.
    """

    column: str
    value: float | None
    window: str
    start_us: int | None
    count: int
    newest: tuple[Behind, ...]


@dataclass(frozen=True)
class Inspection:
    """A user's vector at a moment.

    Attributes:
        key: the store's key of the user's record (paper eq. 18).
        state: the record as readable data; None when the user has none.
        watermark_us: newest event the state has seen.
        version: commits of the store.
    """

    user: int | str
    item: int | str | None
    at_us: int
    key: str
    state: dict[str, Any] | None
    watermark_us: int
    version: int
    values: tuple[Value, ...]
    sequences: dict[str, list[dict[str, Any]]]


def inspect_user(
    config: AppConfig,
    user: int | str,
    *,
    item: int | str | None = None,
    at_us: int | None = None,
) -> Inspection:
    """Read a user's features from the state of `muma stream` and find the events behind them.

    Args:
        config: the recipe.
        user: the user's own id.
        item: an item's own id, for features of items and of pairs; None leaves them out.
        at_us: the moment, UTC microseconds; None takes the one after the newest event.

    Raises:
        ArtifactError: nothing was streamed yet.
        UnknownIdError: the user or the item is not known.
    """
    world = open_world(config)
    reader, store = open_reader(config, world)
    stream = FileStream(
        FileStreamConfig(
            path=str(stream_folder(config)), partitions=config.stream.partitions, readonly=True
        )
    )
    try:
        user_index = int(stream.user_ids.encode([user])[0])
        item_index = -1 if item is None else int(stream.item_ids.encode([item])[0])
        freshness = reader.freshness()
        at = freshness.watermark + 1 if at_us is None else at_us
        table = reader.lookup(user_index, np.array([item_index]), at)
        parts = components(
            world.plan, world.catalogue, np.array([user_index]), np.array([item_index])
        )
        request = {name: int(values[0]) for name, values in parts.items()}
        events = _events(world, stream, request, at)
        values = []
        place = 0
        for feature in world.plan.features:
            known = all(_present(cell.key, request) for cell in feature.cells)
            for column in feature.columns:
                value = float(table.values_BF[0, place])
                place += 1
                if known or not np.isnan(value):
                    values.append(
                        _value(world, stream, events, feature, column, value, request, at)
                    )
        return Inspection(
            user,
            item,
            at,
            f"USER:{user_index}:FEATURES",
            reader.record("user", user_index),
            freshness.watermark,
            freshness.version,
            tuple(values),
            _sequences(stream, table.sequences),
        )
    finally:
        stream.close()
        store.close()


def _present(key: str, request: dict[str, int]) -> bool:
    return all(request[part] >= 0 for part in KeyKind.parse(key).components)


def _value(
    world: World,
    stream: FileStream,
    events: pl.DataFrame,
    feature: Feature,
    column: str,
    value: float,
    request: dict[str, int],
    at: int,
) -> Value:
    tests = [_test(world, cell, request, at) for cell in dict.fromkeys(feature.cells)]
    behind = events.filter(pl.any_horizontal(tests)) if tests else events.head(0)
    newest = behind.sort("timestamp", descending=True, maintain_order=True).head(SHOWN)
    rows = tuple(
        Behind(
            row["timestamp"],
            row["kind"],
            stream.user_ids.decode([row["user_id"]])[0],
            None if row["item_id"] is None else stream.item_ids.decode([row["item_id"]])[0],
            row["dwell_ms"],
        )
        for row in newest.to_dicts()
    )
    windows = dict.fromkeys(_words(cell.window) for cell in feature.cells)
    starts = [_start(cell.window, at) for cell in feature.cells]
    known = [start for start in starts if start is not None]
    return Value(
        column,
        None if np.isnan(value) else value,
        ", ".join(windows) or "the moment",
        min(known) if known and len(known) == len(starts) else None,
        behind.height,
        rows,
    )


def _events(world: World, stream: FileStream, request: dict[str, int], at: int) -> pl.DataFrame:
    """Every event of the stream, before `at`, that shares a component with the request."""
    catalogue = world.catalogue
    found = []
    for partition in range(stream.partitions):
        offset = stream.starts()[partition]
        while (batch := stream.read(partition, offset, limit=PIECE)) is not None:
            offset = batch.next_offset
            item = batch.frame.get_column("item_id").cast(pl.Int64).fill_null(-1).to_numpy()
            marked = batch.frame.with_columns(
                pl.Series("_author", catalogue.of_items(catalogue.author_I, item)),
                pl.Series("_category", catalogue.of_items(catalogue.category_I, item)),
            )
            tests = [_belongs(world, part, request) for part in world.plan.components]
            found.append(marked.filter((pl.col("timestamp") < at) & pl.any_horizontal(tests)))
    if not found:
        return pl.DataFrame(schema=STREAM_COLUMNS)
    return pl.concat(found, how="diagonal")


def _belongs(world: World, component: str, request: dict[str, int]) -> pl.Expr:
    """Whether an event belongs to the request's key of one component."""
    wanted = request[component]
    if component == "global":
        return pl.lit(True)
    if component == "friends":
        start, followers = world.followers.start_U, world.followers.follower_E
        followed = np.flatnonzero(np.isin(followers, [wanted]))
        users = np.searchsorted(start, followed, side="right") - 1
        return pl.col("user_id").is_in(users.tolist())
    if component == "domain":
        return pl.col("domain").to_physical().cast(pl.Int64) == wanted
    column = {"user": "user_id", "item": "item_id"}.get(component, f"_{component}")
    return (pl.col(column).cast(pl.Int64) == wanted) & pl.lit(wanted >= 0)


def _test(world: World, cell: Cell, request: dict[str, int], at: int) -> pl.Expr:
    tests = [world.plan.filters[cell.partial.where].test()]
    tests += [_belongs(world, part, request) for part in KeyKind.parse(cell.key).components]
    start = _start(cell.window, at)
    if start is not None:
        tests.append(pl.col("timestamp") >= start)
    return pl.all_horizontal(tests).fill_null(False)


def _start(window: Window, at: int) -> int | None:
    if isinstance(window, Sliding):
        return at // window.pane * window.pane - window.length + window.pane
    if isinstance(window, Gap):
        return at - window.horizon
    if isinstance(window, AllTime) and window.horizon is not None:
        return at - window.horizon
    return None


def _words(window: Window) -> str:
    if isinstance(window, Sliding):
        return f"last {window.label}, {window.panes} panes"
    if isinstance(window, Decay):
        return f"all time, {window.label.replace('decay', 'halved every ')}"
    if isinstance(window, Gap):
        return f"{window.which} session (gap {window.label.removeprefix(window.which)})"
    return "all time" if window.horizon is None else f"all time, {window.label}"


def _sequences(stream: FileStream, sequences: Any) -> dict[str, list[dict[str, Any]]]:
    shown = {}
    for name, seq in sequences.items():
        live = np.flatnonzero(seq.mask_BL[0])[::-1]
        shown[name] = [
            {
                "time_us": int(seq.time_BL[0, at]),
                "item": None
                if seq.item_BL[0, at] < 0
                else stream.item_ids.decode([int(seq.item_BL[0, at])])[0],
                "dwell_ms": None if seq.dwell_BL[0, at] < 0 else int(seq.dwell_BL[0, at]),
            }
            for at in live
        ]
    return shown
