"""Statistics of a sliding window, in panes of time.

Sliding-window UCB: Garivier and Moulines, ALT 2011; here the window is one of event time, kept as the
features keep theirs: a window of length W with panes of length p at time t covers the events with
`floor_p(t) - W + p <= time`. A late feedback goes to its own pane as long as that is in the window.

Shape: R rows, P panes, E feedback rows, N candidates.
"""

from __future__ import annotations

import numba
import numpy as np
from pydantic import Field, model_validator

from muma.config import Config
from muma.policy.forgetting import Moments, empty

_FIRST = (
    2  # a row: latest event time, number of its newest pane, then count, sum, square of each pane
)


class SlidingWindowConfig(Config):
    """Settings of a window.

    Attributes:
        length_us: W, microseconds; a multiple of `pane_us`.
        pane_us: p, microseconds.
    """

    length_us: int = Field(default=24 * 3_600_000_000, gt=0)
    pane_us: int = Field(default=3_600_000_000, gt=0)

    @model_validator(mode="after")
    def _whole_panes(self) -> SlidingWindowConfig:
        if self.length_us % self.pane_us:
            raise ValueError(
                f"a window of {self.length_us} us is no whole number of panes of {self.pane_us} us"
            )
        return self


class SlidingWindow:
    """Each row is a ring of panes of its own; what has left the window is forgotten exactly.

    Example:
        >>> rule = SlidingWindow(SlidingWindowConfig(length_us=20, pane_us=10))
        >>> row_RW = rule.empty(1)
        >>> rule.add(row_RW, np.zeros(3, int), np.ones(3), np.array([21, 5, 11]))
        >>> [rule.read(row_RW, at).count_N.tolist() for at in (29, 30, 40)]
        [[2.0], [1.0], [0.0]]
    """

    def __init__(self, config: SlidingWindowConfig = SlidingWindowConfig()) -> None:
        self.config = config
        self.panes = config.length_us // config.pane_us

    @property
    def width(self) -> int:
        """Numbers a row."""
        return _FIRST + 3 * self.panes

    def empty(self, n: int) -> np.ndarray:
        """Rows without events."""
        row_NW = empty(n, self.width)
        row_NW[:, 1] = -self.panes  # no event is older than that
        return row_NW

    def add(
        self, row_RW: np.ndarray, place_E: np.ndarray, value_E: np.ndarray, time_E: np.ndarray
    ) -> None:
        """See `Forgetting.add`."""
        _add(row_RW, place_E, value_E, time_E, self.config.pane_us)

    def read(self, row_NW: np.ndarray, at: float) -> Moments:
        """See `Forgetting.read`."""
        newest = int(at) // self.config.pane_us
        head_N1 = row_NW[:, 1:2].astype(np.int64)
        # the pane that lies in each place of the ring: the newest number up to the head that fits
        number_NP = head_N1 - (head_N1 - np.arange(self.panes)) % self.panes
        live_NP = number_NP > newest - self.panes
        part_NP3 = row_NW[:, _FIRST:].reshape(len(row_NW), self.panes, 3)
        sum_N3 = np.where(live_NP[:, :, None], part_NP3, 0.0).sum(axis=1)
        return Moments(*np.ascontiguousarray(sum_N3.T))


@numba.njit(cache=True, nogil=True)
def _add(
    row_RW: np.ndarray, place_E: np.ndarray, value_E: np.ndarray, time_E: np.ndarray, pane_us: int
) -> None:
    panes = (row_RW.shape[1] - _FIRST) // 3
    for e in range(len(place_E)):
        row, pane = row_RW[place_E[e]], time_E[e] // pane_us
        head = np.int64(row[1])
        row[0] = max(row[0], float(time_E[e]))
        if pane > head:
            for gone in range(max(head + 1, pane - panes + 1), pane + 1):
                at = _FIRST + 3 * (gone % panes)
                row[at : at + 3] = 0.0
            row[1] = pane
        elif pane <= head - panes:
            continue
        at = _FIRST + 3 * (pane % panes)
        row[at] += 1.0
        row[at + 1] += value_E[e]
        row[at + 2] += value_E[e] * value_E[e]
