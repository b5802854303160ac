"""Matched sets: for each matched unit, the units of the other group it is compared with.

Members of a set are neighbours in one ordering, so that a set is a range of it: millions of ties cost
two integers each. A member of a set of m has weight 1 / m.

    K_j  = sum over sets that hold j of 1 / m        (how often j is used)
    K'_j = sum over sets that hold j of 1 / m^2

Shape: M sets, N units, C places of the ordering.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MatchedSets:
    """Sets of one direction (treated units with their controls, or the reverse).

    Attributes:
        unit_M: rows of the matched units, int64 [M].
        start_M, stop_M: each set is `order_C[start:stop]`, never empty.
        order_C: rows of the other group.
        unmatched: rows that found nobody within the caliper, or nobody was left, int64.
    """

    unit_M: np.ndarray
    start_M: np.ndarray
    stop_M: np.ndarray
    order_C: np.ndarray
    unmatched: np.ndarray

    def __len__(self) -> int:
        """Number of sets."""
        return len(self.unit_M)

    @property
    def size_M(self) -> np.ndarray:
        """Members of each set."""
        return self.stop_M - self.start_M

    def members(self, place: int) -> np.ndarray:
        """Rows that the unit `unit_M[place]` is compared with."""
        return self.order_C[self.start_M[place] : self.stop_M[place]]

    def mean(self, value_N: np.ndarray) -> np.ndarray:
        """Mean of a value (or of each column) over the members of each set, [M] or [M, F]."""
        ordered_C = np.asarray(value_N, np.float64)[self.order_C]
        # sums of ranges are differences of running sums, taken around the middle to keep digits
        middle = ordered_C.mean(axis=0) if len(ordered_C) else 0.0
        running = np.cumsum(ordered_C - middle, axis=0)
        running = np.concatenate([np.zeros_like(running[:1]), running])
        size_M = self.size_M if running.ndim == 1 else self.size_M[:, None]
        return (running[self.stop_M] - running[self.start_M]) / size_M + middle

    def use(self, n_units: int, *, power: int = 1) -> np.ndarray:
        """Sum of 1 / m^power over the sets that hold each unit, float64 [N]; 0 if none does."""
        share_M = 1.0 / self.size_M.astype(np.float64) ** power
        length = len(self.order_C) + 1
        change = np.bincount(self.start_M, weights=share_M, minlength=length)
        change -= np.bincount(self.stop_M, weights=share_M, minlength=length)
        holds = np.bincount(self.start_M, minlength=length)
        holds -= np.bincount(self.stop_M, minlength=length)
        used_C = np.where(np.cumsum(holds)[:-1] > 0, np.cumsum(change)[:-1], 0.0)
        return np.bincount(self.order_C, weights=used_C, minlength=n_units)
