"""Times of any form into UTC microseconds."""

from __future__ import annotations

from typing import Literal

import polars as pl

from muma.errors import ConfigError

TimeUnit = Literal["s", "ms", "us", "ns", "iso"]
TIME_COLUMNS = {"timestamp", "published_at", "since", "start"}
FORMS = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)
PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


def to_microseconds(
    times: pl.Series, *, unit: TimeUnit | None, zone: str = "UTC"
) -> tuple[pl.Series, pl.Series]:
    """Convert a column of times.

    Args:
        times: typed times, numbers or text, shape [n].
        unit: unit of numbers; `iso` for ISO 8601 text; None for typed times only.
        zone: time zone of times that name none.

    Returns:
        Int64 microseconds with nulls where there is none, and a mask of the values that are
        present and could not be converted.

    Raises:
        ConfigError: the column holds numbers or text and no unit is given.

    Example:
        >>> to_microseconds(pl.Series([1.5, None]), unit="s")[0].to_list()
        [1500000, None]
    """
    kind = times.dtype
    if kind == pl.Null:
        times, kind, unit = times.cast(pl.Int64), pl.Int64(), "us"
    if kind == pl.Date:
        times, kind = times.cast(pl.Datetime("us")), pl.Datetime("us")
    if isinstance(kind, pl.Datetime):
        typed = times if kind.time_zone else _placed(times, zone)
        converted = typed.dt.convert_time_zone("UTC").dt.timestamp("us")
    elif unit is None:
        shown = times.drop_nulls().head(1).to_list()
        raise ConfigError(
            f"column {times.name!r} holds {kind} values such as {shown}: set time_unit to "
            "'s', 'ms', 'us', 'ns' or 'iso'"
        )
    elif not (kind.is_numeric() or kind == pl.String):
        converted = pl.Series(times.name, [None] * len(times), dtype=pl.Int64)
    elif unit == "iso":
        text = times.cast(pl.String).str.strip_chars()
        aware = text.str.to_datetime(time_unit="us", time_zone="UTC", strict=False, format="%+")
        naive = _naive(text, zone)
        converted = aware.fill_null(naive).dt.timestamp("us")
    else:
        converted = _numbers(times, unit)
    return converted, times.is_not_null() & converted.is_null()


def _naive(text: pl.Series, zone: str) -> pl.Series:
    found = pl.Series("t", [None] * len(text), dtype=pl.Datetime("us"))
    for form in FORMS:
        if form == "%Y-%m-%d":
            parsed = text.str.to_date(form, strict=False).cast(pl.Datetime("us"))
        else:
            parsed = text.str.to_datetime(form, time_unit="us", strict=False)
        found = found.fill_null(parsed)
    return _placed(found, zone).dt.convert_time_zone("UTC")


def _placed(times: pl.Series, zone: str) -> pl.Series:
    """Local times in their zone: of two readings the earlier, of none null."""
    return times.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")


def _numbers(times: pl.Series, unit: TimeUnit) -> pl.Series:
    if times.dtype == pl.String:
        times = times.str.strip_chars()
    if unit != "ns" and (times.dtype.is_integer() or times.dtype == pl.String):
        whole = times.cast(pl.Int64, strict=False)
        low, high = whole.min(), whole.max()
        limit = 2**62 // PER_UNIT[unit]
        plain = whole.null_count() == times.null_count()
        if plain and low is not None and -limit <= low and high <= limit:  # pyright: ignore[reportOperatorIssue]
            return whole * PER_UNIT[unit]
    real = times.cast(pl.Float64, strict=False)
    if times.dtype.is_float() or times.dtype.is_decimal():
        whole = pl.Series("whole", [None] * len(times), dtype=pl.Int64)
    else:
        whole = times.cast(pl.Int64, strict=False)
    if unit == "ns":
        whole, real, factor = whole // 1_000, real / 1_000, 1
    else:
        factor = PER_UNIT[unit]
    limit = 2**62 // factor
    fits = whole.is_between(-limit, limit)
    frame = pl.DataFrame({"whole": whole, "real": real, "fits": fits})
    scaled = pl.col("real") * factor
    return frame.select(
        pl.when(pl.col("fits"))
        .then(pl.col("whole") * factor)
        .when(pl.col("whole").is_null() & scaled.is_finite() & (scaled.abs() < 2**62))
        .then(scaled.round().cast(pl.Int64, strict=False))
    ).to_series()
