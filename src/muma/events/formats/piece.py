"""The contract of a format, and what all formats share: opening, decompressing, clear errors."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import polars as pl
import pyarrow as pa

from muma.errors import SourceError
from muma.events.event import Unreadable

MIB = 1 << 20
MAX_RECORD = 16 * MIB


@dataclass(frozen=True)
class Piece:
    """Some records of a file: the wanted columns, and a column `row` (1-based record number)."""

    frame: pl.DataFrame
    unreadable: tuple[Unreadable, ...] = ()


class Format(Protocol):
    """Reads one file.

    Args:
        path: the file; `.gz` and `.zst` are decompressed on the way.
        columns: names of the wanted columns.
        options: format-specific settings.

    Raises:
        SourceError: the file is missing, truncated, or lacks a wanted column.
    """

    def __call__(self, path: Path, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield the records in order."""
        ...


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, decompressing by its ending.

    Raises:
        SourceError: missing, unreadable, truncated or damaged, wherever that shows inside the
            block.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError("is not a regular file", file=str(path))
        if path.suffix == ".gz":
            stream = cast("IO[bytes]", gzip.open(path))  # noqa: SIM115 - closed below
        elif path.suffix == ".zst":
            unpacked = pa.input_stream(str(path), compression="zstd")
            stream = cast("IO[bytes]", io.BufferedReader(unpacked))  # pyright: ignore[reportArgumentType]
        else:
            stream = path.open("rb")
        with stream:
            yield stream
    except FileNotFoundError:
        raise SourceError("the file does not exist", file=str(path)) from None
    except (EOFError, zlib.error, OSError) as error:
        raise SourceError(
            f"cannot be read ({error}); the file is truncated or damaged, copy it again",
            file=str(path),
        ) from None


def check_header(
    path: Path, columns: Sequence[str], header: Sequence[str], *, hint: str = ""
) -> None:
    """Refuse a file that lacks a wanted column, or names it twice.

    Raises:
        SourceError: it does.
    """
    absent = [c for c in columns if c not in header]
    if absent:
        raise lacking(path, absent, header, hint=hint)
    for column in columns:
        if header.count(column) > 1:
            raise SourceError(
                f"names the column {column!r} {header.count(column)} times; rename all but one",
                file=str(path),
            )


def lacking(
    path: Path, absent: Sequence[str], header: Sequence[str], *, hint: str = ""
) -> SourceError:
    """The error for wanted columns that a file does not have."""
    names = ", ".join(repr(name) for name in absent)
    have = ", ".join(repr(name) for name in header)
    return SourceError(
        f"lacks the column(s) {names}; it has: {have[:300]}.{hint} "
        "Correct the column mapping in the recipe",
        file=str(path),
    )
