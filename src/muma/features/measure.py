"""What of an event is summed, compared or counted: always a whole number of a declared unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.errors import ConfigError

BOUNDS = {
    "one": (1, 1),
    "dwell_ms": (0, 2**31),
    "completion": (0, 1000),
    "position": (0, 2**31),
    "value": (-(2**52), 2**52),
    "time": (0, 2**52),
}
"""Lowest and highest value of each measure in its base unit; outside values are clipped."""
IDS = ("user", "item", "author", "category")
UNIT = {
    "completion": 0.001,
    "value": 0.001,
    "dwell_ms": 1.0,
    "position": 1.0,
    "one": 1.0,
    "time": 1.0,
}
"""Base units: completion and value count thousandths, time microseconds, dwell milliseconds."""


@dataclass(frozen=True)
class Measure:
    """A column of an event as an integer.

    Attributes:
        column: one of `BOUNDS`: `one` (always 1), `dwell_ms`, `completion` (dwell over duration, in
            thousandths, at most 1000), `position`, `value` (thousandths, rounded half to even),
            `time` (microseconds); or an id, for sketches and buckets: `user`, `item`, `author`,
            `category`.
        unit: base units in one unit; the measure is divided by it, rounding down.
        power: 1, or 2 for sums of squares.
    """

    column: str
    unit: int = 1
    power: int = 1

    def __post_init__(self) -> None:
        if self.column not in BOUNDS and self.column not in IDS:
            raise ConfigError(
                f"measure {self.column!r} is unknown; allowed: {', '.join((*BOUNDS, *IDS))}"
            )
        if self.unit < 1 or self.power not in (1, 2):
            raise ConfigError(f"measure {self.column!r}: unit must be >= 1 and power 1 or 2")

    @property
    def low(self) -> int:
        """Lowest value, in units."""
        return BOUNDS[self.column][0] // self.unit

    @property
    def high(self) -> int:
        """Highest value, in units."""
        return BOUNDS[self.column][1] // self.unit

    @property
    def size(self) -> float:
        """One unit in the column's natural terms: 1 for milliseconds, 0.001 for ratings."""
        return UNIT.get(self.column, 1.0) * self.unit

    def of(self, base: np.ndarray) -> np.ndarray:
        """Measure of base values (int64 [n], in base units)."""
        low, high = BOUNDS[self.column]
        whole = np.clip(base, low, high) // self.unit
        return whole * whole if self.power == 2 else whole


ONE = Measure("one")
