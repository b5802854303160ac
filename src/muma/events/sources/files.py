"""Generic files: CSV, JSON Lines or Parquet with a column mapping in the recipe.

[events.source]
use = "muma.events.sources.files.Files"

[events.source.events]
files = ["logs/2024-*.csv.gz"]
columns = { user_id = "uid", item_id = "article", timestamp = "ts", ctx_device = "device" }
constants = { domain = "news", kind = "click" }
time_unit = "ms"
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import Field, field_validator

from muma.config import Config
from muma.errors import ConfigError, SourceError
from muma.events.event import TABLES, Batch, Position, TableName, Unreadable
from muma.events.formats.csv import csv_columns, read_csv
from muma.events.formats.jsonl import jsonl_columns, read_jsonl
from muma.events.formats.parquet import parquet_columns, read_parquet
from muma.events.formats.piece import Piece
from muma.events.schema import REQUIRED
from muma.events.sources.times import TIME_COLUMNS, TimeUnit, to_microseconds

FormatName = Literal["csv", "jsonl", "parquet"]
ENDINGS: dict[str, FormatName] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".dat": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class TableConfig(Config):
    """How the files of one table are read.

    Attributes:
        files: paths, globs or folders; relative ones start at the working directory.
        columns: declared name -> name in the files. `ctx_*` (events) and `attr_*` (items, users)
            bring a source's own columns along. Empty: the files use the declared names.
        constants: declared name -> one value for all rows.
        values: declared name -> {value in the files -> declared value}, such as kinds.
        format: None tells by the ending.
        delimiter: of CSV; None takes a tab for `.tsv` and `.dat`, a comma otherwise.
        time_unit: unit of numeric times; `iso` for text; None only for typed times.
        time_zone: zone of times that name none.
        list_separator: splits a text column into a list (tags).
        nan_is_missing: read a NaN as "no value" instead of refusing the row.
    """

    files: list[str] = Field(min_length=1)
    columns: dict[str, str] = {}
    constants: dict[str, Any] = {}
    values: dict[str, dict[str, str]] = {}
    format: FormatName | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    time_unit: TimeUnit | None = None
    time_zone: str = "UTC"
    list_separator: str = "|"
    nan_is_missing: bool = False

    @field_validator("delimiter")
    @classmethod
    def _one_byte(cls, value: str | None) -> str | None:
        if value is not None and (not value.isascii() or value in '"\r\n'):
            raise ValueError("a delimiter is one ASCII character, not a quote or a line end")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("not a time zone; write it as 'Europe/Berlin' or 'UTC'") from None
        return value


class FilesConfig(Config):
    """One section for each table that the files hold."""

    events: TableConfig
    items: TableConfig | None = None
    users: TableConfig | None = None
    social: TableConfig | None = None
    gaze: TableConfig | None = None


class Files:
    """Reads mapped files in sorted order; the same batches on every reading."""

    def __init__(self, config: FilesConfig) -> None:
        self.config = config
        for table in TABLES:
            if (settings := getattr(config, table)) is not None:
                _check_names(table, settings)

    def files(self) -> list[str]:
        """Every file, tables in their declared order."""
        return [str(path) for _, _, path in self._places()]

    def batches(self, after: Position | None = None) -> Iterator[Batch]:
        """Yield the files piece by piece."""
        for number, (table, settings, path) in enumerate(self._places()):
            if after is not None and number < after.file:
                continue
            for piece in _reader(settings, path)(path, _wanted(path, table, settings)):
                if piece.frame.is_empty() and not piece.unreadable:
                    continue
                last = max(
                    [*(r.row for r in piece.unreadable), *piece.frame.get_column("row").tail(1)],
                    default=0,
                )
                position = Position(number, last)
                if after is None or (position.file, position.row) > (after.file, after.row):
                    yield _mapped(table, settings, path, piece, position)

    def _places(self) -> list[tuple[TableName, TableConfig, Path]]:
        places = []
        for table in TABLES:
            settings: TableConfig | None = getattr(self.config, table)
            if settings is not None:
                places += [(table, settings, path) for path in expand(settings.files)]
        return places


def expand(patterns: list[str]) -> list[Path]:
    """Files that paths, globs and folders name, sorted within each pattern, each file once.

    Raises:
        SourceError: a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matches = [p for p in sorted(path.rglob("*")) if p.is_file() and _format(p)]
        elif path.exists():
            matches = [path]
        else:
            names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
            matches = [Path(name) for name in names if not Path(name).is_dir()]
        if not matches:
            raise SourceError(
                "no such file, and no file matches it as a pattern or folder "
                f"(of a folder, files ending in {', '.join(ENDINGS)} are read)",
                file=pattern,
            )
        for match in matches:
            if not match.is_file():  # opening a pipe would wait for ever
                raise SourceError("is not a regular file", file=str(match))
        found.update(dict.fromkeys(matches))
    return list(found)


def column_names(path: Path, settings: TableConfig) -> list[str]:
    """Names of a file's columns, as the file spells them."""
    kind = settings.format or _format(path)
    if kind == "csv":
        return csv_columns(path, delimiter=settings.delimiter)
    return jsonl_columns(path) if kind == "jsonl" else parquet_columns(path)


def _format(path: Path) -> FormatName | None:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return ENDINGS.get(Path(name).suffix.lower())


def _reader(settings: TableConfig, path: Path) -> Any:
    kind = settings.format or _format(path)
    if kind is None:
        raise SourceError(
            f"unknown ending; allowed: {', '.join(ENDINGS)} (also .gz, .zst), or set format",
            file=str(path),
        )
    if kind == "csv":
        return partial(read_csv, delimiter=settings.delimiter)
    return read_jsonl if kind == "jsonl" else read_parquet


def _check_names(table: TableName, settings: TableConfig) -> None:
    declared = TABLES[table]
    prefix = "ctx_" if table == "events" else "attr_"
    for name in [*settings.columns, *settings.constants, *settings.values]:
        if name not in declared and not name.startswith(prefix):
            raise ConfigError(
                f"events.source.{table}: {name!r} is not a declared column; allowed: "
                f"{', '.join(declared)}, or {prefix}<name> for your own"
            )
    for name in settings.values:
        if settings.columns and name not in settings.columns:
            raise ConfigError(
                f"events.source.{table}.values: {name!r} is not a mapped column; mapped are: "
                f"{', '.join(settings.columns)}"
            )
    for name, value in settings.constants.items():
        if not isinstance(value, str | int | float | bool | datetime):
            raise ConfigError(
                f"events.source.{table}.constants.{name}: {value!r} is not a single value"
            )


def _wanted(path: Path, table: TableName, settings: TableConfig) -> list[str]:
    if settings.columns:
        return list(dict.fromkeys(settings.columns.values()))
    return own_names(table, column_names(path, settings), text=is_jsonl(settings, path))


def own_names(table: TableName, names: Sequence[str], *, text: bool) -> list[str]:
    """The columns of a file that need no mapping.

    Args:
        table: which table.
        names: the columns that the file is known to have.
        text: the file may have more, as JSON Lines does; all optional columns are asked for then.
    """
    declared = TABLES[table]
    found = [n for n in names if n in declared or n.startswith(("ctx_", "attr_"))]
    optional = [n for n in declared if n not in REQUIRED[table]] if text else []
    return list(dict.fromkeys([*found, *optional]))


def is_jsonl(settings: TableConfig, path: Path) -> bool:
    """Whether a file is read as JSON Lines."""
    return (settings.format or _format(path)) == "jsonl"


def _is_number(table: TableName, column: str) -> bool:
    kind = TABLES[table].get(column)
    return kind is not None and kind.is_numeric()


def _mapped(
    table: TableName, settings: TableConfig, path: Path, piece: Piece, position: Position
) -> Batch:
    canonical = {old: new for new, old in reversed(settings.columns.items())}
    frame = piece.frame
    refused = [replace(r, column=canonical.get(r.column or "", r.column)) for r in piece.unreadable]
    if frame.is_empty():
        return Batch(
            table, pl.DataFrame(schema={"row": pl.Int64}), str(path), position, tuple(refused)
        )
    names = settings.columns or {c: c for c in frame.columns if c != "row"}
    frame = frame.select(*(pl.col(old).alias(new) for new, old in names.items()), "row")
    if not settings.columns:  # what nobody mapped and nothing fills is not there
        unfilled = [c for c in frame.columns if frame.get_column(c).null_count() == frame.height]
        frame = frame.drop([c for c in unfilled if c not in REQUIRED[table]])
    for name, table_of_values in settings.values.items():
        if name not in frame.columns:
            continue
        frame = frame.with_columns(pl.col(name).cast(pl.String).replace(table_of_values))
    if settings.nan_is_missing:
        numbers = [
            c for c in frame.columns if _is_number(table, c) and frame.schema[c] == pl.String
        ]
        is_nan = pl.col(numbers).str.strip_chars().str.to_lowercase() == "nan"
        frame = frame.with_columns(
            pl.selectors.float().fill_nan(None), pl.when(~is_nan).then(pl.col(numbers))
        )
    for name, kind in TABLES[table].items():
        if isinstance(kind, pl.List) and frame.schema.get(name) == pl.String:
            frame = frame.with_columns(pl.col(name).str.split(settings.list_separator))
    for name in TIME_COLUMNS & set(frame.columns):
        times, wrong = to_microseconds(
            frame.get_column(name), unit=settings.time_unit, zone=settings.time_zone
        )
        if wrong.any():
            hit = frame.filter(wrong)
            refused += [
                Unreadable(row, name, str(value), f"not a time ({settings.time_unit or 'typed'})")
                for row, value in hit.select("row", name).iter_rows()
            ]
        frame = frame.with_columns(times.alias(name)).filter(~wrong)
    constants = [pl.lit(value).alias(name) for name, value in settings.constants.items()]
    return Batch(table, frame.with_columns(constants), str(path), position, tuple(refused))
