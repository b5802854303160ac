"""Base of the sources that know one published data set: a subclass only says what the tables are.

A data set that fits in memory is read table by table; batches, positions and resuming come from
here. Rows keep the record number of the file they came from.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from muma.errors import SourceError
from muma.events.event import Batch, Position, TableName, Unreadable
from muma.events.formats.piece import Piece

ROWS = 1 << 20


@dataclass(frozen=True)
class Table:
    """One table as an adapter gives it: declared column names and `row`."""

    name: TableName
    file: Path
    frame: pl.DataFrame
    unreadable: tuple[Unreadable, ...] = ()


class Adapter(ABC):
    """A source over the files of one data set."""

    @abstractmethod
    def tables(self) -> Iterator[Table]:
        """Yield the tables in a fixed order."""

    @abstractmethod
    def files(self) -> list[str]:
        """Paths of everything that is read."""

    def batches(self, after: Position | None = None) -> Iterator[Batch]:
        """Yield the tables in batches of bounded size."""
        start = after or Position()
        for number, table in enumerate(self.tables()):
            if number < start.file:
                continue
            done = start.row if number == start.file else 0
            height = table.frame.height
            for at in range(done, max(height, 1), ROWS):
                frame = table.frame.slice(at, ROWS)
                refused = table.unreadable if at == 0 else ()
                if frame.height or refused:
                    position = Position(number, min(at + ROWS, max(height, 1)))
                    yield Batch(table.name, frame, str(table.file), position, refused)


def found(folder: str | Path, *names: str) -> Path:
    """The first of `names` that exists in `folder`.

    Raises:
        SourceError: none does.
    """
    home = Path(folder).expanduser()
    for name in names:
        if (home / name).is_file():
            return home / name
    missing = " or ".join(names)
    raise SourceError(f"holds no {missing}; point 'path' at the data set's folder", file=str(home))


def numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the column `row`: 1-based record numbers."""
    return frame.with_row_index("row", offset=1).with_columns(pl.col("row").cast(pl.Int64))


def whole(pieces: Iterator[Piece]) -> tuple[pl.DataFrame, tuple[Unreadable, ...]]:
    """All pieces of a file as one frame, and what could not be read."""
    parts = list(pieces)
    frame = pl.concat([p.frame for p in parts], how="diagonal") if parts else pl.DataFrame()
    return frame, tuple(r for p in parts for r in p.unreadable)


def data_fingerprint(paths: list[str]) -> str:
    """SHA-256 over the content of files; above 64 MiB: size, time of change and 64 samples.

    Args:
        paths: files that exist.

    Raises:
        SourceError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            _digest_file(digest, Path(path))
        except OSError as error:
            raise SourceError(f"cannot be read ({error.strerror})", file=path) from None
    return digest.hexdigest()


def _digest_file(digest: hashlib._Hash, path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{path.name} {size}\n".encode())
    if size > 64 << 20:
        digest.update(f"{path.stat().st_mtime_ns}\n".encode())
    with path.open("rb") as stream:
        if size <= 64 << 20:
            digest.update(stream.read())
            return
        for at in range(0, size, size // 64):
            stream.seek(at)
            digest.update(stream.read(1 << 16))
