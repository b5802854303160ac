"""One segment of a partition: a file of blocks of events that all have the same columns.

    segment = magic, version, length and CRC-32 of the schema, first offset, partition
              + the Arrow schema (with the meaning of its kind and domain codes) + blocks

A block's payload is an Arrow record batch without its schema; its stamp is `received_at`.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa

from muma.backends.blocks import (
    CHUNK,
    HEAD_BYTES,
    Flaw,
    Head,
    Heads,
    only_zeros,
    padded,
    parse,
)
from muma.backends.stream_rows import WORDS
from muma.errors import StreamError
from muma.events.stream import STREAM_COLUMNS

MAGIC = b"MUMASEG\n"
VERSION = 1
_PROLOGUE = struct.Struct("<8sIIIIQQ")  # the last one is the CRC-32 of the others
LEAST_LOADED = 1 << 18  # bytes decoded at once, so that small reads of small blocks are cheap
MOST_CACHED = 1 << 17  # rows of nulls that are kept for the columns that nobody sent


def name_of(first: int) -> str:
    """File name of the segment whose first offset is `first`."""
    return f"{first:020d}.seg"


def schema_of(fields: Mapping[str, pa.DataType]) -> pa.Schema:
    """Arrow schema of a new segment; it says what the codes of kind and domain mean."""
    words = {name: json.dumps(words) for name, (_, words) in WORDS.items()}
    return pa.schema(list(fields.items()), metadata=words)


def prologue(schema: pa.Schema, *, partition: int, first: int) -> bytes:
    """First bytes of a segment file."""
    raw = schema.serialize().to_pybytes()
    raw += b"\0" * (padded(len(raw)) - len(raw))
    fields = (MAGIC, VERSION, len(raw), zlib.crc32(raw), partition, first)
    return _PROLOGUE.pack(*fields, _own_crc(_PROLOGUE.pack(*fields, 0))) + raw


@dataclass(frozen=True)
class Window:
    """Decoded consecutive events `first .. end - 1` of one segment."""

    first: int
    end: int
    frame: pl.DataFrame


class Segment:
    """Reads one segment file; not for several threads at once.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: it is gone.
        StreamError: it is not a segment.
        Unfinished: its first bytes are not all there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = int(path.stem)
        self._fd = os.open(path, os.O_RDONLY)
        try:
            self.schema, self.begin = read_prologue(self._fd, path)
            self._words = {name: _words(self.schema, name, path) for name in WORDS}
        except BaseException:
            os.close(self._fd)
            raise
        self._marks = ([self.first], [self.begin])  # offsets and bytes of some blocks, rising
        self.end = self.first  # offset up to which heads were walked
        self._walked = self.begin  # byte of the same place

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    def size(self) -> int:
        """Bytes of the file.

        Raises:
            FileNotFoundError: the file was removed.
        """
        status = os.fstat(self._fd)
        if not status.st_nlink:
            raise FileNotFoundError(self.path)
        return status.st_size

    def walk(self, size: int, *, until: int | None = None) -> int:
        """Walk heads up to `size` bytes, or past the offset `until`; returns the offset reached.

        Raises:
            StreamError: there is something that is not a block.
        """
        heads = Heads(self._fd, size)
        while until is None or self.end <= until:
            head = heads.at(self._walked)
            if head is Flaw.DAMAGED:
                # zeros: a power loss, and no writer has opened the stream since
                if only_zeros(self._fd, self._walked, size):
                    break
                raise Damaged(self.path, self._walked, self.end)
            if isinstance(head, Flaw) or not head.live:
                break
            self._pass(head)
        return self.end

    def load(self, offset: int, limit: int, size: int) -> Window | None:
        """Decode whole blocks from the one with `offset` on; None when it is not there yet.

        At least `limit` events are decoded, and at least `LEAST_LOADED` bytes, if there are.

        Raises:
            StreamError: the block is damaged.
        """
        if self.walk(size, until=offset) <= offset:
            return None
        offsets, places = self._marks
        nearest = bisect_right(offsets, offset) - 1
        heads = Heads(self._fd, size)
        at = places[nearest]
        while True:  # to the block that holds the offset
            head = heads.at(at)
            if isinstance(head, Flaw):
                raise Damaged(self.path, at, offset)
            if head.first + head.count > offset:
                break
            at = head.end
        return self._decode(at, offset, limit, size)

    def _pass(self, head: Head) -> None:
        offsets, places = self._marks
        if head.at - places[-1] >= CHUNK:
            offsets.append(head.first)
            places.append(head.at)
        self.end, self._walked = head.first + head.count, head.end

    def _decode(self, at: int, offset: int, limit: int, size: int) -> Window:
        chunk_at, chunk = at, os.pread(self._fd, min(LEAST_LOADED, size - at), at)
        heads: list[Head] = []
        batches: list[pa.RecordBatch] = []
        rows = 0
        while rows < limit or at < chunk_at + len(chunk):
            view = memoryview(chunk)[at - chunk_at :]
            head = parse(view, at, size)
            short = len(view) < HEAD_BYTES or (isinstance(head, Head) and head.end - at > len(view))
            if short and rows < limit and at < size:
                wanted = max(LEAST_LOADED, head.end - at if isinstance(head, Head) else 0)
                again = os.pread(self._fd, min(wanted, size - at), at)
                if len(again) > len(view):
                    chunk_at, chunk = at, again
                    continue
            if isinstance(head, Flaw) or short or not head.live:
                break
            payload = view[HEAD_BYTES : HEAD_BYTES + head.payload]
            if not head.holds(payload):
                if heads:
                    break
                raise Damaged(self.path, at, head.first)
            if head.first == self.end:
                self._pass(head)
            heads.append(head)
            batches.append(pa.ipc.read_record_batch(pa.py_buffer(payload), self.schema))
            rows = head.first + head.count - offset
            at = head.end
        return Window(
            heads[0].first, heads[-1].first + heads[-1].count, self._frame(heads, batches)
        )

    def _frame(self, heads: Sequence[Head], batches: Sequence[pa.RecordBatch]) -> pl.DataFrame:
        table = pa.Table.from_batches(batches, self.schema)
        if len(batches) > 1:
            table = table.combine_chunks()
        stored = cast("pl.DataFrame", pl.from_arrow(table))
        stamps = np.repeat([head.stamp for head in heads], [head.count for head in heads])
        absent = _absent(stored.height)
        columns: list[pl.Series] = []
        sent = set(stored.columns)
        for name in STREAM_COLUMNS:
            if name == "received_at":
                columns.append(pl.Series(name, stamps, dtype=pl.Int64))
            elif name not in sent:
                columns.append(absent.get_column(name))
            elif name in WORDS:
                columns.append(self._words[name][stored.get_column(name)])
            else:
                columns.append(stored.get_column(name))
        columns += [
            stored.get_column(name) for name in stored.columns if name not in STREAM_COLUMNS
        ]
        return pl.DataFrame(columns)


class Damaged(StreamError):  # noqa: N818 - says what the segment is
    """A segment that holds no whole block at byte `at`, but whole ones before, up to `end`."""

    def __init__(self, path: Path, at: int, end: int) -> None:
        self.at = at
        self.end = end
        first = int(path.stem)
        super().__init__(
            f"{path} is damaged at byte {at}: the {end - first} events before it in this file are "
            f"whole (offsets {first} to {end}). Restore the file from a copy, or close the stream "
            "and set the damaged bytes aside with FileStream.repair(path)"
        )


class Unfinished(StreamError):  # noqa: N818 - a state that passes, and no fault
    """A segment whose first bytes are not all written."""


def read_prologue(fd: int, path: Path) -> tuple[pa.Schema, int]:
    """Schema of a segment, and the byte of its first block.

    Raises:
        Unfinished: the file ends before, or was never filled.
        Damaged: it is no segment.
        StreamError: it is one of another format, or of another place.
    """
    raw = os.pread(fd, CHUNK, 0)
    size = os.fstat(fd).st_size
    if size < _PROLOGUE.size or only_zeros(fd, 0, size):
        raise Unfinished(f"{path} is not all written")
    head = raw[: _PROLOGUE.size]
    magic, version, length, crc, partition, first, own = _PROLOGUE.unpack(head)
    if magic != MAGIC or _own_crc(head) != own:
        raise Damaged(path, 0, int(path.stem))
    if version != VERSION:
        raise StreamError(f"{path} has the format {version}; this version reads {VERSION}")
    begin = _PROLOGUE.size + length
    if begin > size:
        raise Unfinished(f"{path} is not all written")
    packed = raw[_PROLOGUE.size : begin]
    if len(packed) < length:
        packed = os.pread(fd, length, _PROLOGUE.size)
    if zlib.crc32(packed) != crc:
        raise Damaged(path, 0, int(path.stem))
    if first != int(path.stem) or f"p{partition}" != path.parent.name:
        raise StreamError(
            f"{path} holds offset {first} of partition {partition}: it was moved or renamed; put "
            f"it back to p{partition}/{name_of(first)}"
        )
    return pa.ipc.read_schema(pa.py_buffer(packed)), begin


def _own_crc(head: bytes) -> int:
    return zlib.crc32(head[: -struct.calcsize("<Q")])


def _words(schema: pa.Schema, column: str, path: Path) -> pl.Series:
    """What the codes of a column meant when the segment was written, in today's type."""
    kind, words = WORDS[column]
    written = json.loads(schema.metadata[column.encode()])
    if unknown := [word for word in written if word not in words]:
        raise StreamError(
            f"{path} was written by another version of muma, which knew the {column} {unknown[0]!r}; "
            "read it with that version, or a later one"
        )
    return pl.Series(column, written, dtype=kind)


def _absent(height: int) -> pl.DataFrame:
    """A frame of nulls; for most reads it is cut from one that is made once."""
    return _nulls(height) if height > MOST_CACHED else _cached_nulls().head(height)


@cache
def _cached_nulls() -> pl.DataFrame:
    return _nulls(MOST_CACHED)


def _nulls(height: int) -> pl.DataFrame:
    columns = STREAM_COLUMNS.items()
    return pl.DataFrame([pl.repeat(None, height, dtype=t, eager=True).alias(n) for n, t in columns])
