"""How sufficient statistics treat the past: rows of numbers, one an arm, and the rules to add and read.

A row begins with the latest event time in it; what follows is up to the rule. Every rule weighs a
feedback by its own event time, so that the order in which feedback comes in changes nothing (up to
rounding; counts, and sums of rewards 0 and 1 without discount, are exact).

Statistics are read as of the request's time or the latest event time in the whole table, whichever is
later: no event is ever weighed more than 1.

Shape: R rows, W numbers a row, E feedback rows, N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np

from muma.config import Config

NEVER = (
    -1.0
)  # event time of a row without events; microseconds are exact in float64 until the year 2255


@dataclass(frozen=True)
class Moments:
    """Weighted sums of some arms.

    Attributes:
        count_N: sum of weights, float64 [N].
        sum_N: weighted sum of rewards, float64 [N].
        square_N: weighted sum of squared rewards, float64 [N].
    """

    count_N: np.ndarray
    sum_N: np.ndarray
    square_N: np.ndarray


class Forgetting(Protocol):
    """A rule; its constructor takes its config, so that a recipe can name it."""

    @property
    def width(self) -> int:
        """Numbers a row."""
        ...

    def empty(self, n: int) -> np.ndarray:
        """Rows without events, float64 [n, W]."""
        ...

    def add(
        self, row_RW: np.ndarray, place_E: np.ndarray, value_E: np.ndarray, time_E: np.ndarray
    ) -> None:
        """Add rewards in place; `place_E` int64 names the row of each, `time_E` int64 its event time."""
        ...

    def read(self, row_NW: np.ndarray, at: float) -> Moments:
        """Weighted sums as of `at`, microseconds; no row holds a later event."""
        ...


class StationaryConfig(Config):
    """Nothing to set."""


class Stationary:
    """Nothing is forgotten: every feedback weighs 1.

    Example:
        >>> rule = Stationary()
        >>> row_RW = rule.empty(2)
        >>> rule.add(row_RW, np.array([1, 1]), np.array([1.0, 0.5]), np.array([20, 10]))
        >>> rule.read(row_RW, 30).sum_N.tolist(), row_RW[1].tolist()
        ([0.0, 1.5], [20.0, 2.0, 1.5, 1.25])
    """

    width = 4

    def __init__(self, config: StationaryConfig = StationaryConfig()) -> None:
        self.config = config

    def empty(self, n: int) -> np.ndarray:
        """Rows without events."""
        return empty(n, self.width)

    def add(
        self, row_RW: np.ndarray, place_E: np.ndarray, value_E: np.ndarray, time_E: np.ndarray
    ) -> None:
        """See `Forgetting.add`."""
        _add(row_RW, place_E, value_E, time_E)

    def read(self, row_NW: np.ndarray, at: float) -> Moments:  # noqa: ARG002 - the contract's
        """See `Forgetting.read`."""
        return Moments(row_NW[:, 1].copy(), row_NW[:, 2].copy(), row_NW[:, 3].copy())


def empty(n: int, width: int) -> np.ndarray:
    """Rows of zeros that have seen no event, float64 [n, width]."""
    row_NW = np.zeros((n, width))
    row_NW[:, 0] = NEVER
    return row_NW


@numba.njit(cache=True, nogil=True)
def _add(row_RW: np.ndarray, place_E: np.ndarray, value_E: np.ndarray, time_E: np.ndarray) -> None:
    for e in range(len(place_E)):
        row = row_RW[place_E[e]]
        row[0] = max(row[0], float(time_E[e]))
        row[1] += 1.0
        row[2] += value_E[e]
        row[3] += value_E[e] * value_E[e]
