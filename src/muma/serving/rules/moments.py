"""Moments in rule files: ISO 8601 text, a TOML date-time, or UTC microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HOUR_US = 3_600_000_000


def hours_us(hours: float) -> int:
    """Microseconds, rounded to whole ones."""
    return round(hours * HOUR_US)


def to_us(value: Any) -> Any:
    """UTC microseconds of a moment; without a zone it is UTC.

    Raises:
        ValueError: the text is no moment.

    Example:
        >>> to_us("1970-01-01T00:00:01Z")
        1000000
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("no moment; write 2026-05-01T12:00:00Z") from None
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - EPOCH) // MICROSECOND
    return value


def to_text(time: int | None) -> str | int | None:
    """ISO 8601 in UTC, to the microsecond; a year beyond the calendar stays a number.

    Example:
        >>> to_text(1_000_001)
        '1970-01-01T00:00:01.000001+00:00'
    """
    if time is None:
        return None
    try:
        return (EPOCH + timedelta(microseconds=time)).isoformat()
    except OverflowError:
        return time


Moment = Annotated[int, BeforeValidator(to_us), PlainSerializer(to_text)]
"""A moment as UTC microseconds; written as text."""
