"""Check a frame of events and turn its columns into the types that a stream stores.

All or nothing: the first value that is wrong refuses the frame, by row and column. Written for
frames of a few events too, so it asks each column for few, cheap things and looks for the offending
row only when there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b

import numpy as np
import polars as pl

from muma.errors import DataError
from muma.events.event import DOMAINS, Domain
from muma.events.stream import ACTIONS, STREAM_COLUMNS, Action

LATEST = 2**62  # of a time in microseconds, as in the ingestion of files
IDS = ("user_id", "item_id")
REQUIRED = ("user_id", "kind", "timestamp")
WORDS = {"kind": (Action, ACTIONS), "domain": (Domain, DOMAINS)}
NOT_SENT = ("received_at",)  # the append says it
RANGES: dict[str, tuple[float, float, str]] = {
    "timestamp": (0, LATEST, "UTC microseconds, from 0"),
    "dwell_ms": (0, 2**31 - 1, "milliseconds, from 0"),
    "item_duration_ms": (0, 2**31 - 1, "milliseconds, from 0"),
    "position": (0, 2**31 - 1, "a slot, from 0"),
    "propensity": (math.ulp(0.0), 1.0, "a probability above 0, at most 1"),
    "value": (-math.inf, math.inf, "a number"),
    "x": (0.0, 1.0, "a share of the screen in [0, 1]"),
    "y": (0.0, 1.0, "a share of the screen in [0, 1]"),
}


@dataclass(frozen=True)
class Rows:
    """Checked events.

    Attributes:
        height: number of events, n.
        ids: raw `user_id` and `item_id` as Int64 or String, shape [n]; nulls only in items.
        columns: every other column that is not all null, in the stored type (kind and domain as
            UInt8 codes), shape [n] each.
    """

    height: int
    ids: dict[str, pl.Series]
    columns: dict[str, pl.Series]


def check(frame: pl.DataFrame) -> Rows:
    """Check events as they are sent.

    Raises:
        DataError: a column is unknown or of the wrong type, or a value is missing or out of range.
    """
    height = frame.height
    ids: dict[str, pl.Series] = {}
    columns: dict[str, pl.Series] = {}
    for series in frame.iter_columns():
        name = series.name
        if name not in STREAM_COLUMNS and not name.startswith("ctx_"):
            raise _unknown(name)
        if name in NOT_SENT or series.null_count() == height:
            continue
        if name in IDS:
            ids[name] = _raw_id(series)
        else:
            columns[name] = _stored(series)
    for name in REQUIRED if height else ():
        series = ids.get(name) if name in IDS else columns.get(name)
        if series is None:
            reason = "has no value" if name in frame.columns else "is not there"
            raise DataError(f"column {name!r} {reason}; every event needs one")
        if series.null_count():
            raise _at(_first(series.is_null()), name, "no value; every event needs one")
    return Rows(height, ids, columns)


def hash_text(text: str) -> int:
    """Stable 64-bit name of a text: BLAKE2b of its UTF-8 bytes, little endian.

    Example:
        >>> hash_text("e-1") == hash_text("e-1") != hash_text("e-2")
        True
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _unknown(name: str) -> DataError:
    near = get_close_matches(name, STREAM_COLUMNS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(STREAM_COLUMNS)}"
    return DataError(f"unknown column {name!r}; {hint} A column of your own is called ctx_<name>")


def _at(row: int, column: str, reason: str) -> DataError:
    return DataError(f"row {row} (from 0), column {column!r}: {reason}")


def _first(mask: pl.Series) -> int:
    found = mask.arg_max()  # null counts as lowest
    return 0 if found is None else found


def _raw_id(series: pl.Series) -> pl.Series:
    kind = series.dtype
    if kind in (pl.String, pl.Int64):
        return series
    if kind.is_integer():
        return _cast(series, pl.Int64, "an id is text or an integer that fits 64 bits")
    if isinstance(kind, pl.Enum | pl.Categorical):
        return series.cast(pl.String)
    raise DataError(f"column {series.name!r} is {kind}; an id is text or an integer")


def _cast(series: pl.Series, kind: pl.DataType | type[pl.DataType], reason: str) -> pl.Series:
    done = series.cast(kind, strict=False)
    if done.null_count() != series.null_count():
        row = _first(done.is_null() & series.is_not_null())
        raise _at(row, series.name, f"got {series[row]!r}; {reason}")
    return done


def _stored(series: pl.Series) -> pl.Series:
    name, have = series.name, series.dtype
    if name in WORDS:
        return _code(series)
    if name == "event_id":
        return _event_id(series)
    if name == "request_id":
        if isinstance(have, pl.Enum | pl.Categorical):
            return series.cast(pl.String)
        return _of(series, have == pl.String, "text")
    if name.startswith("ctx_"):
        return _context(series)
    kind = STREAM_COLUMNS[name]
    low, high, meaning = RANGES[name]
    if kind == pl.Float64:
        _of(series, have.is_float() or have.is_integer(), "numbers")
        series = series if have == pl.Float64 else series.cast(pl.Float64)
        total = series.sum()
        if not math.isfinite(total):  # one is NaN or infinite, or the sum is too large
            wrong = ~series.is_finite()
            if wrong.any():
                row = _first(wrong)
                raise _at(row, name, f"got {series[row]}; allowed is {meaning}")
    else:
        _of(series, have.is_integer(), f"whole numbers ({meaning})")
        series = series if have == kind else _cast(series, kind, f"allowed is {meaning}")
    lowest, highest = series.min(), series.max()
    if lowest < low or highest > high:  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
        row = _first((series < low) | (series > high))
        raise _at(row, name, f"got {series[row]}; allowed is {meaning}")
    return series


def _of(series: pl.Series, right: bool, wanted: str) -> pl.Series:
    if not right:
        raise DataError(f"column {series.name!r} is {series.dtype}; it holds {wanted}")
    return series


def _code(series: pl.Series) -> pl.Series:
    kind, words = WORDS[series.name]
    if series.dtype != kind:
        if series.dtype != pl.String and not isinstance(series.dtype, pl.Enum | pl.Categorical):
            raise DataError(f"column {series.name!r} is {series.dtype}; it holds text")
        text = series.cast(pl.String)
        series = text.cast(kind, strict=False)
        if series.null_count() != text.null_count():
            row = _first(series.is_null() & text.is_not_null())
            raise _at(row, series.name, f"got {text[row]!r:.60}; allowed: {', '.join(words)}")
    return series.to_physical()


def _event_id(series: pl.Series) -> pl.Series:
    if series.dtype.is_integer():
        return _cast(series, pl.UInt64, "a number is at least 0 and fits 64 bits")
    if isinstance(series.dtype, pl.Enum | pl.Categorical):
        series = series.cast(pl.String)
    _of(series, series.dtype == pl.String, "text or whole numbers")
    texts = series.to_list()
    hashed = b"".join(
        b"\0" * 8 if text is None else blake2b(text.encode(), digest_size=8).digest()
        for text in texts
    )
    done = pl.Series(series.name, np.frombuffer(hashed, dtype="<u8"))
    return done.set(series.is_null(), None) if series.null_count() else done


def _context(series: pl.Series) -> pl.Series:
    kind = series.dtype
    if isinstance(kind, pl.Enum | pl.Categorical):
        return series.cast(pl.String)
    flat = kind.is_numeric() or kind.is_temporal() or kind in (pl.Boolean, pl.String, pl.Binary)
    return _of(series, flat, "one plain value an event: flatten it into several ctx_ columns")
