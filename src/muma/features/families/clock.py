"""The moment itself: time of day and day of the week."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
from pydantic import Field

from muma.config import Config
from muma.features.feature import Feature, Moment

DAY = 86_400_000_000
HOUR = 3_600_000_000
_SIN = np.array([math.sin(2 * math.pi * hour / 24) for hour in range(24)])
_COS = np.array([math.cos(2 * math.pi * hour / 24) for hour in range(24)])


class ClockConfig(Config):
    """Local time.

    Attributes:
        utc_offset_hours: local time minus UTC, in hours; 8 for China.
    """

    utc_offset_hours: float = Field(default=0.0, ge=-14, le=14)


class Clock:
    """`clock.hour` (0-23), `clock.hour_sin`, `clock.hour_cos`, `clock.weekday` (0 is Monday),
    `clock.weekend` (0 or 1), in local time.
    """

    def __init__(self, config: ClockConfig) -> None:
        self.config = config
        self._offset = round(config.utc_offset_hours * HOUR)

    def features(self) -> Sequence[Feature]:
        """One feature of five columns, without state."""
        names = ("hour", "hour_sin", "hour_cos", "weekday", "weekend")
        return [Feature(tuple(f"clock.{name}" for name in names))]

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Read off `at`."""
        del cells
        return _clock(moment.at_B, self._offset, _SIN, _COS)[:, None, :]


@numba.njit(cache=True, nogil=True)
def _clock(at_B: np.ndarray, offset: int, sin_h: np.ndarray, cos_h: np.ndarray) -> np.ndarray:
    value_BC = np.empty((len(at_B), 5))
    for b in range(len(at_B)):
        local = at_B[b] + offset
        hour = local % DAY // HOUR
        weekday = (local // DAY + 3) % 7  # 1970-01-01 was a Thursday
        value_BC[b, 0], value_BC[b, 1], value_BC[b, 2] = hour, sin_h[hour], cos_h[hour]
        value_BC[b, 3], value_BC[b, 4] = weekday, weekday >= 5
    return value_BC
