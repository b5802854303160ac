"""Append to one partition: blocks as drafts, then durable and visible; every state can be restored.

The caller holds its own lock for all methods but `write_out`, `firsts`, `size` and `end`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from muma.backends.blocks import Flaw, block, publish, sync_folder, verdict, write_all
from muma.backends.partition_reader import listed
from muma.backends.segments import (
    Damaged,
    Segment,
    Unfinished,
    name_of,
    prologue,
    read_prologue,
    schema_of,
)
from muma.backends.stream_forget import blank_segment

EVENTS_A_BLOCK = 1 << 16


@dataclass(frozen=True)
class Mark:
    """A state to come back to: last segment (None: there is none), its bytes, offset, drafts."""

    last: int | None
    size: int
    end: int
    drafts: int = 0


@dataclass
class Tail:
    """A segment that is being written."""

    first: int
    path: Path
    fd: int
    schema: pa.Schema
    fields: Mapping[str, pa.DataType] = field(init=False)

    def __post_init__(self) -> None:
        self.fields = {f.name: f.type for f in self.schema}


class PartitionWriter:
    """Writes one partition; also tells readers of the same process what is acknowledged.

    Args:
        folder: of the partition.
        number: of the partition.
        segment_bytes: a segment that has reached this takes no more blocks.

    Raises:
        StreamError: the last segment is damaged.
        OSError: a file cannot be opened.
    """

    def __init__(self, folder: Path, number: int, *, segment_bytes: int) -> None:
        self._folder = folder
        self._number = number
        self._segment_bytes = segment_bytes
        self._tails: list[Tail] = []  # the last durable segment, then those made since
        self._drafts: list[tuple[int, int]] = []  # file descriptor and byte of a block
        self._mark = recovered(folder)
        if self._mark.last is not None:
            path = folder / name_of(self._mark.last)
            fd = os.open(path, os.O_RDWR)
            self._tails.append(Tail(self._mark.last, path, fd, read_prologue(fd, path)[0]))
        self._firsts = listed(folder)
        self._durable = self._mark

    def close(self) -> None:
        """Release the files."""
        for tail in self._tails:
            os.close(tail.fd)
        self._tails.clear()

    def firsts(self) -> Sequence[int]:
        """First offsets of the acknowledged segments, rising."""
        return self._firsts

    def size(self, segment: Segment) -> int:
        """Acknowledged bytes of a segment."""
        durable = self._durable
        return durable.size if segment.first == durable.last else segment.size()

    @property
    def end(self) -> int:
        """Offset after the last acknowledged event."""
        return self._durable.end

    @property
    def durable(self) -> Mark:
        """The state that is acknowledged."""
        return self._durable

    def mark(self) -> Mark:
        """The present state."""
        now = self._mark
        return Mark(now.last, now.size, now.end, len(self._drafts))

    def write(self, batch: pa.RecordBatch, *, stamp: int) -> int:
        """Write events as drafts; returns the offset after them.

        Args:
            batch: stored columns of the events, in order.
            stamp: `received_at`, UTC microseconds.

        Raises:
            OSError: the disk is full or refuses; `restore` a mark then.
        """
        for begin in range(0, batch.num_rows, EVENTS_A_BLOCK):
            self._write(own(batch, begin, EVENTS_A_BLOCK), stamp)
        return self._mark.end

    def restore(self, mark: Mark) -> None:
        """Take back everything that was written since `mark`.

        Raises:
            OSError: the disk refuses even that.
        """
        while self._tails and self._tails[-1].first != mark.last:
            tail = self._tails.pop()
            if mark.last is None and mark.end:  # its name is all that tells the offset
                os.ftruncate(tail.fd, 0)
            else:
                tail.path.unlink(missing_ok=True)
            os.close(tail.fd)
        if self._tails and os.fstat(self._tails[-1].fd).st_size != mark.size:
            os.ftruncate(self._tails[-1].fd, mark.size)
        del self._drafts[mark.drafts :]
        self._mark = Mark(mark.last, mark.size, mark.end)

    def forget_drafts(self) -> None:
        """Take back everything that is not acknowledged."""
        self.restore(self._durable)

    def write_out(self, mark: Mark, *, sync: bool) -> None:
        """Make what was written up to `mark` visible and durable; `published` must follow.

        Raises:
            OSError: the disk refuses.
        """
        drafts = self._drafts[: mark.drafts]
        for fd, at in drafts:
            publish(fd, at)
        if sync:
            for fd in dict.fromkeys(fd for fd, _ in drafts):
                os.fdatasync(fd)
            if mark.last != self._durable.last:
                sync_folder(self._folder)

    def published(self, mark: Mark) -> None:
        """Note that everything up to `mark` was written out."""
        del self._drafts[: mark.drafts]
        self._durable = Mark(mark.last, mark.size, mark.end)
        if mark.last is None:
            return
        known = self._firsts[-1] if self._firsts else -1
        fresh = [t.first for t in self._tails if known < t.first <= mark.last]
        self._firsts = [*self._firsts, *fresh]
        while self._tails[0].first < mark.last:
            os.close(self._tails.pop(0).fd)

    def drop_before(self, offset: int) -> int:
        """Remove whole acknowledged segments below `offset`, never the last; returns their events.

        Raises:
            OSError: the disk refuses.
        """
        firsts = self._firsts
        following = [*firsts[1:]]
        old = [first for first, after in zip(firsts, following, strict=False) if after <= offset]
        self._firsts = firsts[len(old) :]
        for first in old:  # the oldest first: a kill in between leaves no gap
            (self._folder / name_of(first)).unlink(missing_ok=True)
        if old:
            sync_folder(self._folder)
        return self._firsts[0] - old[0] if old else 0

    def blank(self, index: int, *, kinds: Collection[str] | None = None) -> int:
        """Blank the events of a user in all segments; returns how many. There must be no drafts.

        Args:
            index: of the user.
            kinds: only events of these kinds; None blanks all.

        Raises:
            StreamError: a segment is damaged.
            OSError: the disk refuses; what was blanked before stays so.
        """
        for stale in self._folder.glob(".*.draft"):  # of a run that was killed
            stale.unlink()
        blanked = 0
        for first in self._firsts:
            path = self._folder / name_of(first)
            durable = self._durable
            mine = first == durable.last
            size = durable.size if mine else path.stat().st_size
            count, size = blank_segment(path, index, size, kinds=kinds)
            blanked += count
            if count and mine:
                tail = self._tails[-1]
                os.close(tail.fd)
                tail.fd = os.open(path, os.O_RDWR)
                self._mark = self._durable = Mark(first, size, durable.end)
        return blanked

    def _write(self, batch: pa.RecordBatch, stamp: int) -> None:
        tail = self._tails[-1] if self._tails else None
        arrays = None
        if tail is not None and self._mark.size < self._segment_bytes:
            arrays = fitted(batch, tail.fields)
        if tail is None or arrays is None:
            full = tail is None or self._mark.size >= self._segment_bytes
            tail = self._roll(batch, {} if full or tail is None else tail.fields)
            arrays = fitted(batch, tail.fields)
        payload = pa.RecordBatch.from_arrays(arrays, schema=tail.schema).serialize()
        now = self._mark
        pieces = block(memoryview(payload), count=batch.num_rows, first=now.end, stamp=stamp)
        size = write_all(tail.fd, pieces, now.size)
        self._drafts.append((tail.fd, now.size))
        self._mark = Mark(tail.first, size, now.end + batch.num_rows)

    def _roll(self, batch: pa.RecordBatch, fields: Mapping[str, pa.DataType]) -> Tail:
        """Begin a segment for the columns `fields` and those of `batch`."""
        first = self._mark.end
        schema = schema_of({**fields, **{f.name: f.type for f in batch.schema}})
        path = self._folder / name_of(first)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        tail = Tail(first, path, fd, schema)
        self._tails.append(tail)
        self._mark = Mark(first, 0, first)
        size = write_all(fd, [prologue(schema, partition=self._number, first=first)], 0)
        self._mark = Mark(first, size, first)
        return tail


def own(batch: pa.RecordBatch, begin: int, length: int) -> pa.RecordBatch:
    """Some rows, in buffers of their own.

    What Arrow writes of a slice ends with up to 64 bytes of the rows behind it: those of another
    user, in a partition where nobody would look for them to forget them.
    """
    if begin == 0 and length >= batch.num_rows:
        return batch
    columns = [column.slice(begin, length) for column in batch.columns]
    copied = [pa.concat_arrays([column, column.slice(0, 0)]) for column in columns]
    return pa.RecordBatch.from_arrays(copied, schema=batch.schema)


def fitted(batch: pa.RecordBatch, fields: Mapping[str, pa.DataType]) -> list[Any] | None:
    """Columns of `batch` in the order and types of a segment; None when they do not fit.

    A column that was not sent is null; a number is stored in the segment's type where that loses
    nothing, so that a sender who writes 1 and 1.5 does not begin a segment with every event.
    """
    present = {f.name: f.type for f in batch.schema}
    if not present.keys() <= fields.keys():
        return None
    arrays: list[Any] = []
    for name, kind in fields.items():
        have = present.get(name)
        if have is None:
            arrays.append(pa.nulls(batch.num_rows, kind))
        elif have == kind:
            arrays.append(batch.column(name))
        elif pa.types.is_integer(have) and (
            pa.types.is_integer(kind) or pa.types.is_floating(kind)
        ):
            try:
                arrays.append(batch.column(name).cast(kind))
            except pa.ArrowInvalid:
                return None
        else:
            return None
    return arrays


def recovered(folder: Path) -> Mark:
    """Cut off what was never acknowledged at the end of a partition, and say where it ends.

    Raises:
        StreamError: the last segment is damaged.
    """
    firsts = listed(folder)
    for first in reversed(firsts):
        path = folder / name_of(first)
        fd = os.open(path, os.O_RDWR)
        try:
            size, end = whole(fd, path)
            if end > first:
                if size < os.fstat(fd).st_size:
                    os.ftruncate(fd, size)
                os.fsync(fd)  # a killed writer may not have come to it
                sync_folder(folder)
                return Mark(first, size, end)
        finally:
            os.close(fd)
        if first == firsts[0] > 0:  # empty after a repair; its name keeps the offset
            return Mark(None, 0, first)
        path.unlink()  # it holds no event: the append that made it was killed
    return Mark(None, 0, 0)


def whole(fd: int, path: Path) -> tuple[int, int]:
    """Bytes and end offset of the whole published blocks of a last segment.

    Raises:
        Damaged: something after them was changed, and not just cut short.
    """
    end = int(path.stem)
    try:
        _, at = read_prologue(fd, path)
    except Unfinished:
        return 0, end
    size = os.fstat(fd).st_size
    while not isinstance(head := verdict(fd, at, size), Flaw) and head.live:
        at, end = head.end, head.first + head.count
    if head is Flaw.DAMAGED:
        raise Damaged(path, at, end)
    return at, end
