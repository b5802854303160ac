"""What a valid row is: one dataframely schema per table, over the columns a source fills.

Types are the ones of `event.py`; the rules here are the ranges. NaN and infinity are never valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from muma.events.event import DOMAINS, KINDS, TableName

if TYPE_CHECKING:
    import dataframely as dy

LATEST = 2**62  # microseconds; a bound that no arithmetic on times can overflow

_time: dict[str, Any] = {"min": -LATEST, "max": LATEST}
REQUIRED: dict[TableName, tuple[str, ...]] = {
    "events": ("user_id", "item_id", "domain", "kind", "timestamp"),
    "items": ("item_id", "domain"),
    "users": ("user_id",),
    "social": ("src", "dst"),
    "gaze": ("user_id", "x", "y", "start", "duration_ms"),
}
REASONS = {
    "nullability": "missing; a value is required",
    "min": "below the lowest allowed value",
    "min_exclusive": "not above zero",
    "max": "above the highest allowed value",
    "nan": "not a number (NaN)",
    "inf": "infinite",
}


@cache
def _rules() -> dict[TableName, dict[str, dy.Column]]:
    import dataframely as dy  # noqa: PLC0415 - takes a second, and a log that is read is checked already

    return {
        "events": {
            "domain": dy.Enum(DOMAINS, nullable=False),
            "kind": dy.Enum(KINDS, nullable=False),
            "timestamp": dy.Int64(nullable=False, min=0, max=LATEST),
            "dwell_ms": dy.Int32(nullable=True, min=0),
            "item_duration_ms": dy.Int32(nullable=True, min=0),
            "position": dy.Int32(nullable=True, min=0),
            "propensity": dy.Float64(nullable=True, min_exclusive=0.0, max=1.0),
            "value": dy.Float64(nullable=True),
        },
        "items": {
            "domain": dy.Enum(DOMAINS, nullable=False),
            "published_at": dy.Int64(nullable=True, **_time),
            "duration_ms": dy.Int32(nullable=True, min=0),
        },
        "users": {},
        "social": {"since": dy.Int64(nullable=True, **_time)},
        "gaze": {
            "x": dy.Float64(nullable=False, min=0.0, max=1.0),
            "y": dy.Float64(nullable=False, min=0.0, max=1.0),
            "start": dy.Int64(nullable=False, min=0, max=LATEST),
            "duration_ms": dy.Int32(nullable=False, min=0),
        },
    }


@cache
def ranges(table: TableName, columns: Sequence[str]) -> type[dy.Schema]:
    """Schema with the rules of the named columns; columns without a rule pass through.

    Args:
        table: which table.
        columns: the columns that are present, as a tuple.
    """
    import dataframely as dy  # noqa: PLC0415 - see above

    rules = {name: _rules()[table].get(name, dy.Any()) for name in columns}
    return type(f"{table.capitalize()}Ranges", (dy.Schema,), rules)
