"""Parquet, with the types that the file declares."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from muma.errors import SourceError
from muma.events.formats.piece import Piece, check_header

ROWS = 1 << 20


def parquet_columns(path: Path) -> list[str]:
    """Names of a file's columns."""
    with _readable(path):
        return pq.read_schema(path).names


def read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Piece]:
    """Read a Parquet file.

    Args:
        path: the file.
        columns: wanted columns.
    """
    with _readable(path), pq.ParquetFile(path, memory_map=True) as file:
        check_header(path, columns, file.schema_arrow.names)
        row = 0
        for batch in file.iter_batches(batch_size=ROWS, columns=list(columns)):
            frame = pl.DataFrame(pa.Table.from_batches([batch]))  # pyright: ignore[reportArgumentType]
            numbers = np.arange(row + 1, row + 1 + frame.height)
            row += frame.height
            yield Piece(
                frame.with_columns(
                    pl.selectors.categorical().cast(pl.String),
                    row=pl.Series(numbers, dtype=pl.Int64),
                )
            )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError("is not a regular file", file=str(path))
        yield
    except FileNotFoundError:
        raise SourceError("the file does not exist", file=str(path)) from None
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(
            f"is not a readable Parquet file ({error}); it is truncated, damaged or another format",
            file=str(path),
        ) from None
