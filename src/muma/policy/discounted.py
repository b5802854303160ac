"""Discounted statistics: a feedback of age a weighs 2^(-a / half-life).

Discounted UCB: Garivier and Moulines, "On upper-confidence bound policies for switching bandit
problems", ALT 2011; here the discount runs in event time, not in rounds, so that a quiet night and a
busy hour forget alike and late feedback weighs by the moment it belongs to.

Shape: R rows, E feedback rows, N candidates.
"""

from __future__ import annotations

import numba
import numpy as np
from pydantic import Field

from muma.config import Config
from muma.policy.forgetting import Moments, empty


class DiscountedConfig(Config):
    """Settings of discounted statistics.

    Attributes:
        half_life_us: age at which a feedback weighs a half, microseconds.
    """

    half_life_us: int = Field(default=6 * 3_600_000_000, gt=0)


class Discounted:
    """Rows hold sums as of the latest event in them; reading brings them forward to one moment.

    Example:
        >>> rule = Discounted(DiscountedConfig(half_life_us=10))
        >>> row_RW = rule.empty(1)
        >>> rule.add(row_RW, np.array([0, 0]), np.array([1.0, 1.0]), np.array([20, 10]))
        >>> rule.read(row_RW, 30).count_N.tolist()
        [0.75]
    """

    width = 4

    def __init__(self, config: DiscountedConfig = DiscountedConfig()) -> None:
        self.config = config

    def empty(self, n: int) -> np.ndarray:
        """Rows without events."""
        return empty(n, self.width)

    def add(
        self, row_RW: np.ndarray, place_E: np.ndarray, value_E: np.ndarray, time_E: np.ndarray
    ) -> None:
        """See `Forgetting.add`."""
        _add(row_RW, place_E, value_E, time_E, float(self.config.half_life_us))

    def read(self, row_NW: np.ndarray, at: float) -> Moments:
        """See `Forgetting.read`."""
        age_N = np.where(row_NW[:, 0] < 0, 0.0, at - row_NW[:, 0])
        weight_N = np.exp2(-age_N / self.config.half_life_us)
        return Moments(weight_N * row_NW[:, 1], weight_N * row_NW[:, 2], weight_N * row_NW[:, 3])


@numba.njit(cache=True, nogil=True)
def _add(
    row_RW: np.ndarray,
    place_E: np.ndarray,
    value_E: np.ndarray,
    time_E: np.ndarray,
    half_life: float,
) -> None:
    for e in range(len(place_E)):
        row, time = row_RW[place_E[e]], float(time_E[e])
        weight = 1.0
        if row[0] < 0:
            row[0] = time
        elif time > row[0]:
            row[1:] *= 2.0 ** ((row[0] - time) / half_life)
            row[0] = time
        else:
            weight = 2.0 ** ((time - row[0]) / half_life)
        row[1] += weight
        row[2] += weight * value_E[e]
        row[3] += weight * value_E[e] * value_E[e]
