"""Delimited text with a header line, read by Arrow's streaming parser; every value as text.

Records with too few or too many fields and records that are not UTF-8 are reported, not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import csv

from muma.errors import SourceError
from muma.events.event import Unreadable
from muma.events.formats.piece import MAX_RECORD, MIB, Piece, lacking, opened

DELIMITERS = (",", ";", "\t", "|")


def read_csv(
    path: Path, columns: Sequence[str], *, delimiter: str | None = None
) -> Iterator[Piece]:
    """Read a delimited file.

    Args:
        path: the file.
        columns: wanted columns.
        delimiter: one character; None takes a tab for `.tsv` and `.dat` files, a comma otherwise.
    """
    names = path.name.removesuffix(".gz").removesuffix(".zst")
    delimiter = delimiter or ("\t" if names.endswith((".tsv", ".dat")) else ",")
    invalid: list[csv.InvalidRow] = []

    def skip(row: csv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    with opened(path) as stream:
        try:
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(use_threads=False, block_size=8 * MIB),
                parse_options=csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=csv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, pa.binary()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
        except pa.ArrowKeyError:
            header = _header(path, delimiter)
            absent = [c for c in columns if c not in header]
            raise lacking(path, absent, header, hint=_hint(header, delimiter)) from None
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise _broken(path, error) from None
        yield from _pieces(path, reader, invalid)


def _pieces(
    path: Path, reader: csv.CSVStreamingReader, invalid: list[csv.InvalidRow]
) -> Iterator[Piece]:
    row, used = 0, 0  # records delivered or refused; entries of `invalid` accounted for
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        except pa.ArrowInvalid as error:
            raise _broken(path, error) from None
        numbers = np.arange(row + 1, row + 1 + batch.num_rows)
        refused = []
        while used < len(invalid) and _record(invalid[used]) <= (
            numbers[-1] if len(numbers) else row
        ):
            refused.append(invalid[used])
            numbers[np.searchsorted(numbers, _record(invalid[used])) :] += 1
            used += 1
        row = int(numbers[-1]) if len(numbers) else row
        frame = pl.DataFrame(pa.Table.from_batches([batch]))  # pyright: ignore[reportArgumentType]
        yield _decoded(frame, numbers, [_unreadable(r) for r in refused])
    rest = [_unreadable(r) for r in invalid[used:]]
    if rest:
        yield Piece(pl.DataFrame(schema={"row": pl.Int64}), tuple(rest))


def _record(row: csv.InvalidRow) -> int:
    return int(row.number) - 1  # the parser counts the header as record 1


def _unreadable(row: csv.InvalidRow) -> Unreadable:
    reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
    return Unreadable(_record(row), None, str(row.text), reason)


def _decoded(frame: pl.DataFrame, numbers: np.ndarray, refused: list[Unreadable]) -> Piece:
    """Turn bytes into text; records with invalid bytes are refused."""
    bad = np.zeros(frame.height, dtype=bool)
    for name in frame.columns:
        column = frame.get_column(name)
        try:
            frame = frame.with_columns(column.cast(pl.String))
        except pl.exceptions.ComputeError:
            texts, wrong = _by_hand(column)
            for at in wrong[~bad[wrong]]:
                value = column[int(at)].decode("utf-8", errors="replace")
                refused.append(Unreadable(int(numbers[at]), name, value, "not valid UTF-8"))
            bad[wrong] = True
            frame = frame.with_columns(pl.Series(name, texts, dtype=pl.String))
    frame = frame.with_columns(row=pl.Series(numbers, dtype=pl.Int64))
    return Piece(frame.filter(pl.Series(~bad)) if bad.any() else frame, tuple(refused))


def _by_hand(column: pl.Series) -> tuple[list[str | None], np.ndarray]:
    texts: list[str | None] = []
    wrong = []
    for at, value in enumerate(column.to_list()):
        try:
            texts.append(None if value is None else value.decode("utf-8"))
        except UnicodeDecodeError:
            texts.append(None)
            wrong.append(at)
    return texts, np.array(wrong, dtype=np.int64)


def _header(path: Path, delimiter: str) -> list[str]:
    with opened(path) as stream:
        line = stream.readline(MAX_RECORD).decode("utf-8", errors="replace")
    return [
        name.strip().strip('"') for name in line.lstrip("\ufeff").strip("\r\n").split(delimiter)
    ]


def _hint(header: Sequence[str], delimiter: str) -> str:
    if len(header) > 1:
        return ""
    better = max(DELIMITERS, key=lambda d: header[0].count(d) if header else 0)
    if header and better != delimiter and header[0].count(better):
        return f" Its delimiter seems to be {better!r}: set delimiter = {better!r}."
    return ""


def _broken(path: Path, error: Exception) -> SourceError:
    if "straddling" in str(error) or "block size" in str(error):
        text = "a record is longer than 8 MiB; the file is damaged or a quote is never closed"
    else:
        text = f"is not readable as delimited text: {error}"
    return SourceError(text, file=str(path))
