"""Times of every form into UTC microseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muma.errors import ConfigError
from muma.events.sources.times import to_microseconds

S = 1_700_000_000
US = S * 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def convert(values, unit, zone="UTC", **kw):
    series = values if isinstance(values, pl.Series) else pl.Series("t", values, **kw)
    times, wrong = to_microseconds(series, unit=unit, zone=zone)
    assert times.dtype == pl.Int64
    assert wrong.to_list() == (series.is_not_null() & times.is_null()).to_list()
    return times.to_list()


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("s", S, US), ("ms", S * 1000 + 5, US + 5000), ("us", US + 7, US + 7),
        ("ns", US * 1000 + 1999, US + 1), ("s", str(S), US), ("s", f" {S}\t", US),
        ("s", S + 0.25, US + 250_000), ("s", f"{S}.123456", US + 123_456), ("s", "1.7e9", US),
        ("ms", 0.5, 500), ("ns", 1.7e18, US), ("s", -5, -5_000_000), ("ns", -1, -1),
        ("s", Decimal(f"{S}.5"), US + 500_000), ("s", 0, 0),
        ("s", "x", None), ("s", "", None), ("s", "nan", None), ("s", float("inf"), None),
        ("s", 2**62, None), ("s", -(2**63), None), ("ms", -(2**63), None), ("us", -(2**63), None),
        ("s", 1e300, None), ("s", str(2**70), None), ("s", True, None), ("s", b"5", None),
        ("s", [5], None), ("s", None, None), ("ms", timedelta(1), None),
    ],
)  # fmt: skip
def test_numbers(unit, value, expected):
    assert convert([value], unit) == [expected]
    assert convert([None, value], unit) == [None, expected]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2024-01-01T00:00:00Z", "Asia/Tokyo", "2024-01-01T00:00:00+00:00"),
        ("2024-01-01T00:00:00+02:00", "UTC", "2023-12-31T22:00:00+00:00"),
        ("2024-01-01 00:00:00-0130", "UTC", "2024-01-01T01:30:00+00:00"),
        ("2024-01-01T00:00:00.123456789Z", "UTC", "2024-01-01T00:00:00.123456+00:00"),
        ("2024-01-01T00:00:00", "Asia/Tokyo", "2023-12-31T15:00:00+00:00"),
        (" 2024-01-01 00:00:00.5 ", "UTC", "2024-01-01T00:00:00.500000+00:00"),
        ("2024-01-01T10:30", "UTC", "2024-01-01T10:30:00+00:00"),
        ("2024-07-01", "Europe/Berlin", "2024-06-30T22:00:00+00:00"),
        ("1969-12-31T23:59:59Z", "UTC", "1969-12-31T23:59:59+00:00"),
        ("2024-03-31T02:30:00", "Europe/Berlin", None),  # the clock jumps over it
        ("2024-10-27T02:30:00", "Europe/Berlin", "2024-10-27T00:30:00+00:00"),  # the earlier
        ("2024-03-31T02:30:00", "UTC", "2024-03-31T02:30:00+00:00"),
        ("2024-13-01", "UTC", None), ("yesterday", "UTC", None), ("", "UTC", None),
        ("01/02/2024", "UTC", None), (str(S), "UTC", None),
    ],
)  # fmt: skip
def test_iso(text, zone, expected):
    micro = timedelta(microseconds=1)
    wanted = expected and (datetime.fromisoformat(expected) - EPOCH) // micro
    assert convert([text, None], "iso", zone) == [wanted, None]


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.integers(-12 * 60, 14 * 60))
def test_iso_round_trip(when, offset):
    zone = timedelta(minutes=offset)
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{when.isoformat()}{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    wanted = (when.replace(tzinfo=UTC) - zone - EPOCH) // timedelta(microseconds=1)
    assert convert([text], "iso") == [wanted]


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(0, 999_999))
def test_fractions_of_seconds_as_text_and_number(seconds, micro):
    exact = abs(seconds) * 1_000_000 + micro
    got = convert([f"{abs(seconds)}.{micro:06d}"], "s")[0]
    assert abs(got - exact) <= max(1, exact * 2**-52)
    assert convert([seconds], "s") == [seconds * 1_000_000]
    assert convert([seconds], "ms") == [seconds * 1_000]


def test_typed_times():
    naive = pl.Series("t", [datetime(2024, 3, 31, 2, 30), datetime(2024, 1, 1), None])
    assert convert(naive, None, "Europe/Berlin") == [None, 1_704_063_600_000_000, None]
    aware = naive.dt.replace_time_zone("UTC")
    assert convert(aware, None, "Europe/Berlin")[1] == 1_704_067_200_000_000
    assert convert(aware.cast(pl.Datetime("ns", "Asia/Tokyo")), None)[1] == 1_704_067_200_000_000
    assert convert([date(2024, 1, 1)], None) == [1_704_067_200_000_000]
    assert convert([date(2024, 1, 1)], None, "Asia/Tokyo") == [1_704_034_800_000_000]
    assert convert([None, None], None) == [None, None]
    assert convert(pl.Series([2**62]).cast(pl.Datetime("ms")), None) == [None]


@pytest.mark.parametrize("values", [[1], ["2024-01-01"], [1.5]])
def test_a_unit_is_never_guessed(values):
    with pytest.raises(ConfigError, match=r"column 't' holds .*: set time_unit to 's', 'ms'"):
        convert(values, None)
