"""Events on their way to an engine: late, in batches of any size, sent more than once.

A `Feed` cuts a log into the partitions of a stream, remembers what has arrived where, and hands it
to any engine with `apply` and `apply_batches`; `replay` sends again what a new engine lacks, as a
stream would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from muma.events.event import EventLog
from muma.events.stream import StreamBatch
from muma.features.activity import as_stream


class Takes(Protocol):
    """What can be fed."""

    def apply(
        self, frame: pl.DataFrame, *, partition: int = 0, offset: int | None = None
    ) -> object:
        """Take events of one partition; `offset` is that of the first."""
        ...

    def apply_batches(self, batches: Sequence[StreamBatch]) -> object:
        """Take events of several partitions at once."""
        ...


class Arrival(NamedTuple):
    """One event in the stream: row of the log, and when it arrived (microseconds)."""

    row: int
    received: int


@dataclass
class Feed:
    """A log as a stream.

    Attributes:
        frame: events and fixations in order of time, with `event_id`.
        partitions: a user's events all go to `user % partitions`.
        rng: decides on batches and repetitions.
        again: chance that a batch begins with events which the engine has had, by offset.
        twice: chance that a batch ends with events which were sent before, by `event_id`.
        together: chance that a batch is handed over for all its partitions at once.
        horizon: an event is only sent again while it is at most this much older than the newest
            one (microseconds).
        arrived: what each partition holds, in order of offset.
    """

    frame: pl.DataFrame
    rng: np.random.Generator
    partitions: int = 1
    again: float = 0.0
    twice: float = 0.0
    together: float = 0.0
    horizon: int = 0
    arrived: dict[int, list[Arrival]] = field(default_factory=dict)
    order: list[tuple[int, int]] = field(default_factory=list)  # partition and offset
    newest: int = 0

    @classmethod
    def of(cls, log: EventLog, rng: np.random.Generator, **options: float) -> Feed:
        """The stream of a log."""
        frame = as_stream(log).collect()
        names = pl.int_range(pl.len(), dtype=pl.UInt64).alias("event_id") + 1_000
        return cls(frame.with_columns(names), rng, **options)  # pyright: ignore[reportArgumentType]

    def rows(self, start: int, end: int, *, lateness: int = 0) -> np.ndarray:
        """Rows with `start <= time < end`, in an order in which none is more than `lateness` late.

        An event of age a arrives after none that is more than a + `lateness` younger.
        """
        times = self.frame.get_column("timestamp").to_numpy()
        first, last = np.searchsorted(times, [start, end])
        some = self.rng.integers(0, lateness + 1, size=last - first)
        delay = self.rng.choice([0, lateness, -1], size=last - first)  # often the extremes
        delay = np.where(delay < 0, some, delay)
        return first + np.argsort(times[first:last] + delay, kind="stable")

    def send(self, engine: Takes, rows: np.ndarray) -> None:
        """Append rows to their partitions and hand them over in batches of random size."""
        user = self.frame.get_column("user_id").to_numpy()
        start = 0
        while start < len(rows):
            size = int(self.rng.integers(1, 2 + len(rows) // 2))
            batch = rows[start : start + size].tolist()
            where = [int(user[row]) % self.partitions for row in batch]
            if self.rng.random() < self.together:
                parts = {
                    p: [r for r, own in zip(batch, where, strict=True) if own == p] for p in where
                }
                engine.apply_batches([self._append(p, part) for p, part in parts.items()])
            else:
                for partition, run in groupby(zip(where, batch, strict=True), itemgetter(0)):
                    self._apply(engine, self._append(partition, [row for _, row in run]))
            start += size

    def replay(self, engine: Takes, offsets: Mapping[int, int]) -> None:
        """Hand over again, in the order of arrival, all from `offsets` on."""
        lacking = [(p, offset) for p, offset in self.order if offset >= offsets.get(p, 0)]
        for partition, run in groupby(lacking, lambda place: place[0]):
            places = [offset for _, offset in run]
            self._apply(engine, self._batch(partition, places[0], places[-1] + 1))

    def _append(self, partition: int, rows: Sequence[int]) -> StreamBatch:
        """What an engine gets when rows arrive."""
        held = self.arrived.setdefault(partition, [])
        first = len(held)
        times = self.frame.get_column("timestamp")
        for row in [*rows, *self._repeats(rows, held)]:
            self.newest = max(self.newest, int(times[row]))
            self.order.append((partition, len(held)))
            held.append(Arrival(row, self.newest))
        if self.rng.random() < self.again:
            first = int(self.rng.integers(0, first + 1))
        return self._batch(partition, first, len(held))

    def _repeats(self, rows: Sequence[int], held: Sequence[Arrival]) -> list[int]:
        if self.rng.random() >= self.twice:
            return []
        times = self.frame.get_column("timestamp")
        newest = max(self.newest, *(int(times[row]) for row in rows))
        sent = [*(one.row for one in held[-20:]), *rows]
        young = [row for row in sent if int(times[row]) >= newest - self.horizon]
        return self.rng.choice(young, size=min(3, len(young))).tolist()

    def _batch(self, partition: int, start: int, end: int) -> StreamBatch:
        part = self.arrived[partition][start:end]
        received = pl.Series("received_at", [one.received for one in part], dtype=pl.Int64)
        frame = self.frame[[one.row for one in part]].with_columns(received)
        return StreamBatch(partition, start, frame)

    @staticmethod
    def _apply(engine: Takes, batch: StreamBatch) -> None:
        engine.apply(batch.frame, partition=batch.partition, offset=batch.offset)


def groups(at_B: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each distinct moment, in order, with the places of its requests."""
    for at in np.unique(at_B).tolist():
        yield at, np.flatnonzero(at_B == at)
