"""The contract of this room: what an event is, the `EventLog`, and what a source must do.

Time is event time in UTC, integer microseconds. Inside MUMA, users and items are dense integers
(`user_id`, `item_id`: UInt32 in [0, n)); `EventLog.user_ids` and `item_ids` translate.

Dimension legend of the whole package: `B` users or requests, `L` events in a sequence, `D` width,
`I` items, `N` candidates, `K` places in a list, `E` edges, `S` sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import polars as pl

from muma.events.vocabulary import Vocabulary

DOMAINS = ("news", "video", "ad", "music", "film", "audio", "game", "shop", "other")
KINDS = (
    "impression",
    "click",
    "play",
    "long_view",
    "like",
    "share",
    "comment",
    "follow",
    "hide",
    "conversion",
    "rating",
    "tag",
    "search",
    "purchase",
    "other",
)

Domain = pl.Enum(DOMAINS)
Kind = pl.Enum(KINDS)

EVENT_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "user_id": pl.UInt32,
    "item_id": pl.UInt32,
    "domain": Domain,
    "kind": Kind,
    "timestamp": pl.Int64,  # UTC microseconds
    "dwell_ms": pl.Int32,
    "item_duration_ms": pl.Int32,
    "position": pl.Int32,  # slot in the answer, from 0
    "request_id": pl.String,
    "propensity": pl.Float64,  # in (0, 1]
    "value": pl.Float64,  # rating, revenue, play count: the kind says which
    "time_inferred": pl.Boolean,  # the source gives an order, or a day, and no true time
    "looped": pl.Boolean,  # dwell longer than the item
}
"""Columns every event log answers for; a source fills the ones it has, the rest read as null.

Columns that begin with `ctx_` carry a source's own context beside these.
"""

ITEM_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "item_id": pl.UInt32,
    "domain": Domain,
    "title": pl.String,
    "text": pl.String,
    "tags": pl.List(pl.String),
    "category": pl.String,
    "author": pl.String,
    "published_at": pl.Int64,  # UTC microseconds
    "duration_ms": pl.Int32,
}
USER_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {"user_id": pl.UInt32}
SOCIAL_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "src": pl.UInt32,
    "dst": pl.UInt32,
    "relation": pl.String,
    "since": pl.Int64,  # UTC microseconds
}
GAZE_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "user_id": pl.UInt32,
    "item_id": pl.UInt32,
    "screen": pl.String,
    "x": pl.Float64,  # in [0, 1], from the left
    "y": pl.Float64,  # in [0, 1], from the top
    "start": pl.Int64,  # UTC microseconds
    "duration_ms": pl.Int32,
}
TableName = Literal["events", "items", "users", "social", "gaze"]
TABLES: dict[TableName, dict[str, pl.DataType | type[pl.DataType]]] = {
    "events": EVENT_COLUMNS,
    "items": ITEM_COLUMNS,
    "users": USER_COLUMNS,
    "social": SOCIAL_COLUMNS,
    "gaze": GAZE_COLUMNS,
}


def empty(table: TableName) -> pl.LazyFrame:
    """An empty frame with all the declared columns of `table`."""
    return pl.LazyFrame(schema=TABLES[table])


@dataclass(frozen=True)
class EventLog:
    """Validated, cleaned frames, lazy so that a reader loads only the columns it names.

    `events` is ordered by `timestamp`, and equal times keep the order of the source. Every declared
    column can be named; one that the source does not fill reads as null.
    """

    events: pl.LazyFrame
    user_ids: Vocabulary
    item_ids: Vocabulary
    items: pl.LazyFrame = field(default_factory=lambda: empty("items"))
    users: pl.LazyFrame = field(default_factory=lambda: empty("users"))
    social: pl.LazyFrame = field(default_factory=lambda: empty("social"))
    gaze: pl.LazyFrame = field(default_factory=lambda: empty("gaze"))
    fingerprint: str = ""

    @property
    def n_users(self) -> int:
        """Users in the vocabulary; `user_id` lies in [0, n_users)."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Items in the vocabulary; `item_id` lies in [0, n_items)."""
        return len(self.item_ids)

    def with_events(self, events: pl.LazyFrame) -> EventLog:
        """The same log with other events over the same vocabularies."""
        return replace(self, events=events)

    def where(self, predicate: pl.Expr) -> EventLog:
        """The same log with only the events for which `predicate` is true."""
        return self.with_events(self.events.filter(predicate))

    def between(self, start: int | None = None, end: int | None = None) -> EventLog:
        """Events with `start <= timestamp < end` (UTC microseconds; None is unbounded)."""
        log = self
        if start is not None:
            log = log.where(pl.col("timestamp") >= start)
        if end is not None:
            log = log.where(pl.col("timestamp") < end)
        return log


@dataclass(frozen=True)
class Position:
    """Where a source stands: after record `row` (1-based, 0 is the start) of its file `file`."""

    file: int = 0
    row: int = 0


@dataclass(frozen=True)
class Unreadable:
    """A record that could not be parsed into columns at all."""

    row: int
    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """A piece of one table as a source reads it: raw ids, canonical column names, any types.

    `frame` holds a column `row` (1-based record number in `file`) beside the table's own columns.
    """

    table: TableName
    frame: pl.DataFrame
    file: str
    position: Position
    unreadable: tuple[Unreadable, ...] = ()


class Source(Protocol):
    """Reads one kind of raw data. A new source is one file; a recipe names its import path.

    Batches come in the same order with the same content on every reading, and reading
    `after=p` gives exactly the batches that followed the one whose position is `p`: delivery is
    exactly once as long as the files do not change.
    """

    def batches(self, after: Position | None = None) -> Iterator[Batch]:
        """Yield the tables piece by piece.

        Raises:
            SourceError: a file is missing, truncated or not of the declared format.
        """
        ...

    def files(self) -> list[str]:
        """Paths of everything that is read, for the data fingerprint."""
        ...
