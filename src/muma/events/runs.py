"""Typed rows on their way to time order: kept in memory while few, spilled to disk when many.

Rows arrive in any order and leave in buckets of increasing time, each sorted by timestamp with
equal times in arrival order. Bucket borders fall on whole minutes, so that a rule that looks at a
minute sees all of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from muma.errors import SchemaError

MINUTE = 60_000_000  # microseconds


class Runs:
    """Collects frames that hold a column `timestamp` (Int64, microseconds).

    Args:
        folder: where to spill; used only when needed and emptied by `close`.
        rows_in_memory: rows held before spilling starts.
        rows_per_bucket: rows a bucket should hold; a single minute is never split.
    """

    def __init__(
        self, folder: Path, *, rows_in_memory: int = 16_000_000, rows_per_bucket: int = 4_000_000
    ) -> None:
        self.rows = 0
        self.types: dict[str, pl.DataType] = {}
        self._folder = folder
        self._frames: list[pl.DataFrame] = []
        self._files: list[Path] = []
        self._rows_in_memory = rows_in_memory
        self._held = 0
        self._rows_per_bucket = rows_per_bucket
        self._minutes: list[pl.DataFrame] = []

    def append(self, frame: pl.DataFrame) -> None:
        """Take rows; columns may differ between calls, absent ones read as null.

        Raises:
            SchemaError: a column has a type that does not go with the one it had before.
        """
        if frame.is_empty():
            return
        self.rows += frame.height
        self.types = common_types(self.types, frame.schema)
        self._minutes.append(_by_minute(frame))
        if len(self._minutes) > 64:
            self._minutes = [_merged(self._minutes)]
        self._frames.append(frame)
        self._held += frame.height
        if self._held > self._rows_in_memory:
            self._spill()

    def column_before(self, columns: Sequence[str], share: float) -> pl.DataFrame:
        """The named columns of the earliest `share` of the rows, in arrival order."""
        if not self.rows:
            return pl.DataFrame()
        minutes = _merged(self._minutes)
        wanted = share * self.rows
        before = minutes.filter(pl.col("n").cum_sum() - pl.col("n") < wanted)
        cut = (int(before.get_column("minute").max() or 0) + 1) * MINUTE  # pyright: ignore[reportArgumentType]
        parts = []
        for frame in self._all([*columns, "timestamp"]):
            present = [c for c in columns if c in frame.columns]
            parts.append(frame.filter(pl.col("timestamp") < cut).select(present))
        return pl.concat(parts, how="diagonal_relaxed")

    def buckets(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in time order, a bucket at a time; can be called once."""
        if not self.rows:
            return
        borders = self._borders()
        if self._files:
            self._spill()
            yield from self._from_disk(borders)
            return
        whole = self._joined(self._frames)
        self._frames = []
        cuts = np.searchsorted(whole.get_column("timestamp").to_numpy(), borders)
        for start, end in zip([0, *cuts], [*cuts, whole.height], strict=True):
            if end > start:
                yield whole.slice(start, end - start)

    def close(self) -> None:
        """Remove what was spilled."""
        self._frames = []
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spill(self) -> None:
        if not self._frames:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for alike in _alike(self._frames):
            path = self._folder / f"run-{len(self._files):05d}.arrow"
            pl.concat(alike, how="diagonal").write_ipc(path)
            self._files.append(path)
        self._frames, self._held = [], 0

    def _all(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        wanted = [c for c in columns if c in self.types]
        for path in self._files:
            lazy = pl.scan_ipc(path, glob=False)
            yield lazy.select([c for c in wanted if c in lazy.collect_schema()]).collect()
        for frame in self._frames:
            yield frame.select([c for c in wanted if c in frame.columns])

    def _borders(self) -> np.ndarray:
        """Times that cut the rows into about equal buckets, without the outer ends."""
        minutes = _merged(self._minutes)
        bucket = ((minutes.get_column("n").cum_sum() - 1) // self._rows_per_bucket).to_numpy()
        starts = np.flatnonzero(np.diff(bucket)) + 1
        return minutes.get_column("minute").to_numpy()[starts] * MINUTE

    def _from_disk(self, borders: np.ndarray) -> Iterator[pl.DataFrame]:
        pieces: list[list[Path]] = [[] for _ in range(len(borders) + 1)]
        for number, path in enumerate(self._files):
            run = pl.scan_ipc(path, glob=False).collect()
            bucket = np.searchsorted(borders, run.get_column("timestamp").to_numpy(), side="right")
            run = run.with_columns(pl.Series("bucket", bucket.astype(np.int32)))
            for (at,), part in run.group_by(["bucket"], maintain_order=True):
                piece = self._folder / f"bucket-{at:05d}-{number:05d}.arrow"
                part.drop("bucket").write_ipc(piece)
                pieces[int(at)].append(piece)  # pyright: ignore[reportArgumentType]
            del run
            path.unlink()
        for files in pieces:
            frames = [pl.scan_ipc(piece, glob=False).collect() for piece in files]
            for piece in files:
                piece.unlink()
            yield self._joined(frames)

    def _joined(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        """Frames in time order, with every column of the whole log in its final type."""
        return _sorted(pl.concat([conformed(frame, self.types) for frame in frames]))


def common_types(
    known: Mapping[str, pl.DataType], fresh: Mapping[str, pl.DataType]
) -> dict[str, pl.DataType]:
    """For each column a type that holds both: numbers widen, numbers and text become text.

    Raises:
        SchemaError: there is none.
    """
    merged = dict(known)
    for name, kind in fresh.items():
        if merged.setdefault(name, kind) == kind:
            continue
        merged[name] = _widened(name, merged[name], kind)
    return merged


def _widened(name: str, first: pl.DataType, second: pl.DataType) -> pl.DataType:
    pair = [pl.DataFrame(schema={name: kind}) for kind in (first, second)]
    try:
        both = pl.concat(pair, how="vertical_relaxed").schema[name]
    except pl.exceptions.PolarsError:
        both = None
    opaque = first.is_nested() or second.is_nested() or pl.Binary in (first, second)
    if both is None or (both == pl.String and opaque):
        raise SchemaError(
            f"column {name!r} is {first} in some files and {second} in others; make them agree or "
            "leave the column out"
        )
    return both


def conformed(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The frame with exactly the columns and types of `types`; absent columns are null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in types.items()
    )


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All rows in order, columns in the types that `common_types` gives."""
    types: dict[str, pl.DataType] = {}
    for frame in frames:
        types = common_types(types, frame.schema)
    return pl.concat([conformed(frame, types) for frame in frames])


def _alike(frames: Sequence[pl.DataFrame]) -> Iterator[list[pl.DataFrame]]:
    """Cut a sequence of frames where the type of a column changes."""
    group: list[pl.DataFrame] = []
    types: dict[str, pl.DataType] = {}
    for frame in frames:
        if any(types.get(name, kind) != kind for name, kind in frame.schema.items()):
            yield group
            group, types = [], {}
        group.append(frame)
        types |= frame.schema
    yield group


def _by_minute(frame: pl.DataFrame) -> pl.DataFrame:
    minute = (pl.col("timestamp") // MINUTE).alias("minute")
    return frame.lazy().group_by(minute).agg(pl.len().cast(pl.Int64).alias("n")).collect()


def _merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("minute").agg(pl.col("n").sum()).sort("minute")


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    times = frame.get_column("timestamp")
    return frame if times.is_sorted() else frame.sort("timestamp", maintain_order=True)
