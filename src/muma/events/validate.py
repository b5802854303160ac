"""Check a batch against the declared schema: what passes, and what does not with the reason.

A row that fails is refused once, for its first failing column in the order types, ids, ranges; so
rows in = rows kept + rows refused, always.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from muma.errors import SchemaError
from muma.events.event import DOMAINS, KINDS, TABLES, Batch
from muma.events.quarantine import COLUMNS
from muma.events.schema import REASONS, REQUIRED, ranges

ID_COLUMNS = ("user_id", "item_id", "src", "dst")
LONGEST_ID = 512
_LISTS = {"domain": DOMAINS, "kind": KINDS}


@dataclass(frozen=True)
class Checked:
    """The two halves of a batch.

    Attributes:
        kept: rows that passed, in the declared types, ids still raw, with the column `row`.
        refused: columns `file, row, column, value, rule, reason`.
    """

    kept: pl.DataFrame
    refused: pl.DataFrame


def validate(batch: Batch) -> Checked:
    """Convert a batch to the declared types and check its ranges.

    Raises:
        SchemaError: a required column is absent, or a column is neither declared nor `ctx_*` /
            `attr_*`.
    """
    _check_columns(batch)
    frame = batch.frame
    refused: list[pl.DataFrame] = []

    def refuse(bad: pl.Expr, column: str, rule: str, reason: str) -> None:
        nonlocal frame
        hit = frame.filter(bad)
        if hit.height:
            refused.append(_rows(batch, hit, column, rule, reason))
            frame = frame.filter(~bad)

    for column in [c for c in ID_COLUMNS if c in frame.columns]:
        required = column in REQUIRED[batch.table]
        frame = frame.with_columns(_id(frame, column).alias(f"new {column}"))
        lost = pl.col(f"new {column}").is_null()
        if required:
            refuse(pl.col(column).is_null() & lost, column, "missing", REASONS["nullability"])
        refuse(pl.col(column).is_not_null() & lost, column, "type", "not a usable id")
        frame = frame.drop(column).rename({f"new {column}": column})
    for column, kind in TABLES[batch.table].items():
        if column in ID_COLUMNS or column not in frame.columns or frame.schema[column] == kind:
            continue
        frame = frame.with_columns(_converted(frame, column, kind).alias(f"new {column}"))
        lost = pl.col(f"new {column}").is_null() & pl.col(column).is_not_null()
        refuse(lost, column, "type", _type_reason(column, kind))
        frame = frame.drop(column).rename({f"new {column}": column})
    if batch.table == "gaze":
        for column in ("item_id", "screen"):
            if column not in frame.columns:
                frame = frame.with_columns(pl.lit(None, dtype=TABLES["gaze"][column]).alias(column))
        nowhere = pl.col("item_id").is_null() & pl.col("screen").is_null()
        refuse(nowhere, "screen", "missing", "names neither an item nor a screen")
    frame, failure = ranges(batch.table, tuple(frame.columns)).filter(frame)
    if len(failure):
        refused.append(_out_of_range(batch, failure.details()))
    order = [c for c in TABLES[batch.table] if c in frame.columns]
    extra = [c for c in frame.columns if c not in order and c != "row"]
    return Checked(frame.select(*order, *extra, "row"), _concat(refused))


def _check_columns(batch: Batch) -> None:
    declared = TABLES[batch.table]
    present = set(batch.frame.columns) - {"row"}
    absent = [c for c in REQUIRED[batch.table] if c not in present]
    if absent:
        raise SchemaError(
            f"{batch.file}: table {batch.table!r} lacks the column(s) {', '.join(absent)}; "
            f"got {', '.join(sorted(present))}"
        )
    unknown = [c for c in present if c not in declared and not c.startswith(("ctx_", "attr_"))]
    if unknown:
        raise SchemaError(
            f"{batch.file}: table {batch.table!r} has undeclared column(s) {', '.join(unknown)}; "
            "call a source's own columns ctx_<name> (events) or attr_<name> (items, users)"
        )


def _id(frame: pl.DataFrame, column: str) -> pl.Expr:
    kind = frame.schema[column]
    value = pl.col(column)
    if kind.is_integer():
        return value.cast(pl.Int64, strict=False)
    if kind.is_float():
        whole = value.is_finite() & (value == value.floor()) & (value.abs() < 2**53)
        return pl.when(whole).then(value).cast(pl.Int64, strict=False)
    if kind == pl.String:
        text = value.str.strip_chars()
        usable = text.str.len_bytes().is_between(1, LONGEST_ID) & ~text.str.contains("\0")
        return pl.when(usable).then(text)
    return pl.lit(None, dtype=pl.String)


def _converted(
    frame: pl.DataFrame, column: str, kind: pl.DataType | type[pl.DataType]
) -> pl.Series:
    """A column in its declared type, null where a value does not convert."""
    raw = frame.get_column(column)
    if raw.dtype == pl.String and kind in (pl.Int32, pl.Int64):
        whole = raw.str.strip_chars().cast(kind, strict=False)
        if whole.null_count() == raw.null_count():
            return whole
    try:
        return frame.select(_cast(frame.schema[column], pl.col(column), kind)).to_series()
    except pl.exceptions.PolarsError:  # no value of this type converts
        return pl.Series(column, [None] * frame.height, dtype=kind)


def _cast(have: pl.DataType, value: pl.Expr, kind: pl.DataType | type[pl.DataType]) -> pl.Expr:
    nothing = pl.lit(None, dtype=kind)
    if isinstance(have, pl.Datetime):
        plain = value.dt.convert_time_zone("UTC") if have.time_zone else value
        return plain.dt.timestamp("us") if kind == pl.Int64 else nothing
    if have == pl.Date:
        return value.cast(pl.Datetime("us")).dt.timestamp("us") if kind == pl.Int64 else nothing
    if have == pl.Duration:
        return value.dt.total_milliseconds().cast(kind, strict=False)
    if have == pl.Boolean and kind != pl.String:
        return nothing  # a flag is not a number
    if have.is_numeric() and kind == pl.Boolean:
        return pl.when(value.is_in([0, 1])).then(value == 1)
    if have.is_float() or have.is_decimal():
        value = value.cast(pl.Float64)
        if kind in (pl.Int32, pl.Int64):
            value = _rounded(value)
    return _parsed(value, kind) if have == pl.String else value.cast(kind, strict=False)


def _parsed(text: pl.Expr, kind: pl.DataType | type[pl.DataType]) -> pl.Expr:
    text = text.str.strip_chars()
    if kind in (pl.Int32, pl.Int64):
        whole = text.cast(pl.Int64, strict=False)
        real = _rounded(text.cast(pl.Float64, strict=False))
        return pl.coalesce(whole, real).cast(kind, strict=False)
    if kind == pl.Boolean:
        known = {"true": True, "1": True, "false": False, "0": False}
        return text.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Boolean)
    return text.cast(kind, strict=False)


def _rounded(value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_finite() & (value.abs() < 2**62)).then(value.round().cast(pl.Int64))


def _type_reason(column: str, kind: pl.DataType | type[pl.DataType]) -> str:
    if column in _LISTS:
        return f"unknown {column}; allowed: {', '.join(_LISTS[column])}"
    names = {
        pl.Int32: "a whole number that fits 32 bits",
        pl.Int64: "a whole number that fits 64 bits",
        pl.Float64: "a number",
    }
    return f"not {names.get(kind, 'of type ' + str(kind))}"  # pyright: ignore[reportArgumentType]


def _out_of_range(batch: Batch, details: pl.DataFrame) -> pl.DataFrame:
    """One row per refused record, for the first rule that it breaks."""
    rules = [c for c in details.columns if "|" in c and c not in batch.frame.columns]
    columns = list(dict.fromkeys(rule.rsplit("|", 1)[0] for rule in rules))

    def order(rule: str) -> tuple[int, bool]:  # NaN is above every bound, so name it first
        column, kind = rule.rsplit("|", 1)
        return columns.index(column), kind not in ("nan", "inf")

    rules.sort(key=order)
    broken = pl.coalesce(
        pl.when(pl.col(rule).cast(pl.String) == "invalid").then(pl.lit(rule)) for rule in rules
    )
    parts = []
    for (name,), hit in details.with_columns(broken=broken).group_by(
        ["broken"], maintain_order=True
    ):
        column, rule = str(name).rsplit("|", 1)
        parts.append(_rows(batch, hit, column, rule, REASONS.get(rule, rule)))
    return pl.concat(parts).sort("row", maintain_order=True)


def _rows(batch: Batch, hit: pl.DataFrame, column: str, rule: str, reason: str) -> pl.DataFrame:
    value = hit.get_column(column)
    text = (
        value.cast(pl.String, strict=False)
        if not value.dtype.is_nested() and value.dtype != pl.Binary
        else pl.Series([None if v is None else str(v) for v in value.to_list()], dtype=pl.String)
    )
    return pl.DataFrame({"row": hit.get_column("row"), "value": text}).select(
        pl.lit(batch.file).alias("file"),
        "row",
        pl.lit(column).alias("column"),
        "value",
        pl.lit(rule).alias("rule"),
        pl.lit(reason).alias("reason"),
    )


def _concat(parts: list[pl.DataFrame]) -> pl.DataFrame:
    columns = {name: kind for name, kind in COLUMNS.items() if name != "table"}
    rows = [part.with_columns(pl.col("row").cast(columns["row"])) for part in parts]
    return pl.concat([pl.DataFrame(schema=columns), *rows])
