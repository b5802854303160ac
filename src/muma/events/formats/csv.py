"""Delimited text with a header line, read by Arrow's streaming parser; every value as text.

Records with too few or too many fields and records that are not UTF-8 are reported, not read.
"""

from __future__ import annotations

import csv as plain
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import csv

from muma.errors import SourceError
from muma.events.event import Unreadable
from muma.events.formats.piece import MAX_RECORD, MIB, Piece, check_header, lacking, opened
from muma.events.formats.utf8 import MARK, SafeStream

DELIMITERS = (",", ";", "\t", "|")
BLOCK = 8 * MIB


def csv_columns(path: Path, *, delimiter: str | None = None) -> list[str]:
    """Names of a file's columns; none of an empty file."""
    return _header(path, delimiter or _delimiter(path))


def read_csv(
    path: Path, columns: Sequence[str], *, delimiter: str | None = None
) -> Iterator[Piece]:
    """Read a delimited file.

    Args:
        path: the file.
        columns: wanted columns.
        delimiter: one character; None takes a tab for `.tsv` and `.dat` files, a comma otherwise.
    """
    delimiter = delimiter or _delimiter(path)
    header = _header(path, delimiter)
    if not header:
        return
    check_header(path, columns, header, hint=_hint(header, delimiter))
    invalid: deque[csv.InvalidRow] = deque()

    def skip(row: csv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    with opened(path) as stream:
        safe = SafeStream(stream)
        try:
            reader = csv.open_csv(
                safe,
                read_options=csv.ReadOptions(use_threads=False, block_size=BLOCK),
                parse_options=csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=csv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, pa.string()),
                    check_utf8=False,
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
            yield from _pieces(reader, invalid, safe)
        except pa.ArrowKeyError:
            raise lacking(path, columns, header) from None
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise _broken(path, error) from None
        finally:
            safe.stop()
    if safe.quotes % 2:
        _check_quotes(path, delimiter)


def _pieces(
    reader: csv.CSVStreamingReader, invalid: deque[csv.InvalidRow], safe: SafeStream
) -> Iterator[Piece]:
    row = 0  # records delivered or refused
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        if not batch.num_rows:
            continue
        numbers = np.arange(row + 1, row + 1 + batch.num_rows)
        refused = []
        while invalid and _record(invalid[0]) <= numbers[-1]:
            wrong = invalid.popleft()
            refused.append(_unreadable(wrong))
            numbers[np.searchsorted(numbers, _record(wrong)) :] += 1
        row = int(numbers[-1])
        frame = pl.DataFrame(pa.Table.from_batches([batch]))  # pyright: ignore[reportArgumentType]
        frame = frame.with_columns(row=pl.Series(numbers, dtype=pl.Int64))
        if safe.damaged:
            frame, damaged = _undamaged(frame)
            refused += damaged
        yield Piece(frame, tuple(refused))
    if invalid:
        yield Piece(pl.DataFrame(schema={"row": pl.Int64}), tuple(map(_unreadable, invalid)))


def _record(row: csv.InvalidRow) -> int:
    return int(row.number) - 1  # the parser counts the header as record 1


def _unreadable(row: csv.InvalidRow) -> Unreadable:
    reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
    return Unreadable(_record(row), None, _shown(str(row.text)), reason)


def _undamaged(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Unreadable]]:
    """Refuse the records in which a wanted value holds bytes that are not UTF-8."""
    refused = []
    for name in [c for c in frame.columns if c != "row"]:
        bad = pl.col(name).str.contains(MARK, literal=True).fill_null(False)
        refused += [
            Unreadable(row, name, _shown(value), "not valid UTF-8")
            for row, value in frame.filter(bad).select("row", name).iter_rows()
        ]
        frame = frame.filter(~bad)
    return frame, refused


def _shown(text: str) -> str:
    return text.replace(MARK, "\N{REPLACEMENT CHARACTER}")


def _delimiter(path: Path) -> str:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return "\t" if name.endswith((".tsv", ".dat")) else ","


def _header(path: Path, delimiter: str) -> list[str]:
    """Names in the first line that is not blank; none in an empty file."""
    with opened(path) as stream:
        while line := stream.readline(MAX_RECORD):
            if len(line) >= MAX_RECORD:
                raise SourceError(
                    f"its first line is longer than {MAX_RECORD // MIB} MiB; this is not "
                    "delimited text",
                    file=str(path),
                )
            text = line.decode("utf-8", errors="replace").lstrip("\ufeff").strip("\r\n")
            if text:
                first = text.split("\r", 1)[0]
                return next(plain.reader([first], delimiter=delimiter))
    return []


def _hint(header: Sequence[str], delimiter: str) -> str:
    if len(header) > 1:
        return ""
    better = max(DELIMITERS, key=header[0].count)
    if better != delimiter and header[0].count(better):
        return f" Its delimiter seems to be {better!r}: set delimiter = {better!r}."
    return ""


def _check_quotes(path: Path, delimiter: str) -> None:
    """Look closer at a file with an odd number of quotes: the last one may swallow its end."""
    with opened(path) as stream:
        lines = (line.decode("latin-1") for line in stream)
        reader = plain.reader(lines, delimiter=delimiter, strict=True)
        record, limit = -1, plain.field_size_limit(MAX_RECORD)
        try:
            for fields in reader:
                record += bool(fields)
        except plain.Error:
            raise SourceError(
                "a quote is opened and never closed; the file is cut off or damaged",
                file=str(path),
                row=record + 1,
            ) from None
        finally:
            plain.field_size_limit(limit)


def _broken(path: Path, error: Exception) -> SourceError:
    if "straddling" in str(error) or "block size" in str(error):
        size = f"{BLOCK // MIB} MiB"
        text = f"a record is longer than {size}; the file is damaged or a quote is never closed"
    else:
        text = f"is not readable as delimited text: {error}"
    return SourceError(text, file=str(path))
