"""The contract of an event stream: append durably, read again from any offset.

A stream has partitions `0 .. n-1`; all events of a user lie in one. Inside a partition, events have
consecutive offsets from 0 in the order of their arrival. Ids are dense, as everywhere in MUMA: the
stream gives each new raw id the next index and keeps the two vocabularies.

An event is a row with the columns of `STREAM_COLUMNS` plus any `ctx_*` column. A fixation of the
eyes is an event too (`kind` is `"fixation"`, with `x`, `y` and its duration as `dwell_ms`); it may
have no item.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from muma.events.event import DOMAINS, KINDS, Domain
from muma.events.vocabulary import Vocabulary

FIXATION = "fixation"
ACTIONS = (*KINDS, FIXATION)
Action = pl.Enum(ACTIONS)

STREAM_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "event_id": pl.UInt64,  # the sender's name of the event (text is hashed); null has none
    "user_id": pl.UInt32,
    "item_id": pl.UInt32,  # null: no item
    "domain": Domain,  # null counts as "other"
    "kind": Action,
    "timestamp": pl.Int64,  # event time, UTC microseconds
    "received_at": pl.Int64,  # time of the append, UTC microseconds
    "dwell_ms": pl.Int32,
    "item_duration_ms": pl.Int32,
    "position": pl.Int32,
    "request_id": pl.String,
    "propensity": pl.Float64,
    "value": pl.Float64,
    "x": pl.Float64,  # of a fixation, in [0, 1]
    "y": pl.Float64,
}
"""Columns of every event that is read from a stream; one that was not sent reads as null."""

__all__ = [
    "ACTIONS",
    "DOMAINS",
    "FIXATION",
    "STREAM_COLUMNS",
    "Action",
    "EventStream",
    "StreamBatch",
]


@dataclass(frozen=True)
class StreamBatch:
    """Consecutive events of one partition.

    Attributes:
        partition: which one.
        offset: offset of the first row of `frame`.
        frame: the events, columns of `STREAM_COLUMNS` plus `ctx_*`.
    """

    partition: int
    offset: int
    frame: pl.DataFrame

    @property
    def next_offset(self) -> int:
        """Offset to read on from."""
        return self.offset + self.frame.height


class EventStream(Protocol):
    """A durable, partitioned log of events. Reading never blocks and never changes it."""

    @property
    def partitions(self) -> int:
        """Number of partitions; fixed when the stream is made."""
        ...

    @property
    def user_ids(self) -> Vocabulary:
        """Raw user id <-> dense index."""
        ...

    @property
    def item_ids(self) -> Vocabulary:
        """Raw item id <-> dense index."""
        ...

    def append(self, frame: pl.DataFrame, *, received_at: int) -> dict[int, int]:
        """Append events with raw ids; when this returns they are on disk (acknowledged).

        Args:
            frame: `user_id` and `item_id` raw (integers or text), `kind`, `domain`, `timestamp`,
                any other column of `STREAM_COLUMNS`, any `ctx_*`. `event_id` may be text.
            received_at: the clock, UTC microseconds.

        Returns:
            partition -> offset after its last new event, for the partitions that grew.

        Raises:
            DataError: a row has no user, time or kind, or a value of the wrong type; nothing of
                `frame` is appended then.
            StreamError: the disk is full or refuses; what was acknowledged before stays.
        """
        ...

    def read(self, partition: int, offset: int, *, limit: int) -> StreamBatch | None:
        """At most `limit` events from `offset` on; None when there is none yet.

        Raises:
            StreamError: `offset` lies before what retention has kept or after the end, or a block is
                damaged.
        """
        ...

    def starts(self) -> dict[int, int]:
        """First offset that is still kept, by partition."""
        ...

    def ends(self) -> dict[int, int]:
        """Offset after the last event, by partition: where the stream stands."""
        ...

    def drop_before(self, offsets: Mapping[int, int]) -> int:
        """Let go of whole old segments below `offsets`; returns the number of events let go."""
        ...

    def forget(self, index: int, *, kinds: Collection[str] | None = None) -> int:
        """Blank all events of a user, and their id, beyond recovery from the stream's files.

        Offsets and all other ids stay: a blanked event reads as a row of nulls but for
        `received_at`, and the index as a word that no id can be. A kill in the middle leaves some
        events blanked; calling it again does the rest. The same raw id is a new user afterwards.

        Args:
            index: dense index of the user.
            kinds: only events of these kinds, and the id stays; None blanks all and the id.

        Returns:
            How many events were blanked.

        Raises:
            StreamError: there is no such user, something is damaged, or the disk refuses.
        """
        ...

    def export(self, folder: str | Path, *, since: Mapping[int, int] | None = None) -> list[Path]:
        """Write Parquet files with raw ids, one or more a partition, for training."""
        ...

    def close(self) -> None:
        """Release files; safe to call twice."""
        ...
