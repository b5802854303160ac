"""A stream as Parquet files with raw ids: what training ingests again, through `Files`.

    events-p<partition>-<first offset>.parquet    all columns but x and y; kind and domain as text
    gaze-p<partition>-<first offset>.parquet      fixations, in the columns of the gaze table

An event's place is kept in the columns `partition` and `offset`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from muma.backends.blocks import sync_folder
from muma.errors import StreamError
from muma.events.stream import FIXATION, EventStream
from muma.events.vocabulary import Vocabulary

ROWS_A_FILE = 500_000
ROWS_A_READ = 100_000


def export(
    stream: EventStream, folder: Path, *, since: Mapping[int, int], rows: int = ROWS_A_FILE
) -> list[Path]:
    """Write what is in a stream now.

    Args:
        stream: where to read.
        folder: where to write; made when missing. Files of the same names are replaced.
        since: offset to begin at, by partition; absent ones begin at the start.
        rows: most events of a file, which bounds the memory.

    Raises:
        StreamError: an offset is not kept, or something is damaged.
        OSError: the disk is full or refuses; no half-written file has a final name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts, ends = stream.starts(), stream.ends()
    if unknown := since.keys() - ends.keys():
        raise StreamError(f"there is no partition {min(unknown)}; there are {stream.partitions}")
    written: list[Path] = []
    for partition, end in ends.items():
        begin = since.get(partition, starts[partition])
        for offset, frame in _parts(stream, partition, begin, end, rows):
            known = frame.filter(pl.col("user_id").is_not_null())  # the others are forgotten
            raw = _decoded(known, stream.user_ids, stream.item_ids)
            name = f"p{partition}-{offset:020d}.parquet"
            looked = raw.get_column("kind") == FIXATION
            for prefix, part in (("events", raw.filter(~looked)), ("gaze", raw.filter(looked))):
                if part.height:
                    shown = _gaze(part) if prefix == "gaze" else part.drop("x", "y")
                    written.append(_write(shown, folder / f"{prefix}-{name}"))
    sync_folder(folder)
    return written


def _parts(
    stream: EventStream, partition: int, begin: int, end: int, rows: int
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Pieces of at most `rows` events, with the offset of each."""
    at, held, first = begin, [], begin
    while at < end:
        limit = min(ROWS_A_READ, end - at, first + rows - at)
        batch = stream.read(partition, at, limit=limit)
        if batch is None:
            break
        place = pl.int_range(at, batch.next_offset, eager=True, dtype=pl.Int64).alias("offset")
        held.append(batch.frame.with_columns(pl.lit(partition).alias("partition"), place))
        at = batch.next_offset
        if at - first >= rows or at >= end:
            yield first, pl.concat(held, how="diagonal_relaxed")
            held, first = [], at


def _decoded(frame: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> pl.DataFrame:
    return frame.with_columns(
        users.ids.gather(frame.get_column("user_id")).alias("user_id"),
        items.ids.gather(frame.get_column("item_id")).alias("item_id"),
        pl.col("kind", "domain").cast(pl.String),
    )


def _gaze(part: pl.DataFrame) -> pl.DataFrame:
    names = {"timestamp": "start", "dwell_ms": "duration_ms", "ctx_screen": "screen"}
    columns = ["user_id", "item_id", "x", "y", "timestamp", "dwell_ms"]
    if "ctx_screen" in part.columns:  # what a fixation without an item is on
        columns.append("ctx_screen")
    return part.select(columns).rename(names, strict=False)


def _write(frame: pl.DataFrame, path: Path) -> Path:
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("wb") as target:
            frame.write_parquet(target)
            target.flush()
            os.fsync(target.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
