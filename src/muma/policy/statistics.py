"""Sufficient statistics of arms: one contiguous row an item, found by its dense index.

Shape: I items, N candidates, W numbers a row, E feedback rows.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from muma.artifact import Artifact, Writer
from muma.policy.forgetting import Forgetting, Moments, Stationary
from muma.policy.policy import Feedback

_FILE = "statistics.npz"
_LEAST_ROWS = 64


class Statistics(Protocol):
    """What a policy keeps of its arms, in memory or in a store."""

    @property
    def forgetting(self) -> Forgetting:
        """How the past is weighed."""
        ...

    @property
    def as_of(self) -> int:
        """Latest event time added, microseconds; -1 for none."""
        ...

    def add(self, feedback: Feedback, value_E: np.ndarray | None = None) -> None:
        """Add checked feedback.

        Args:
            feedback: a batch; the order of batches changes nothing.
            value_E: what is averaged instead of the rewards, float64 [E].
        """
        ...

    def read(self, item_N: np.ndarray, at: int) -> tuple[Moments, float]:
        """Moments of some items, and the count over all items, as of the later of `at` and `as_of`."""
        ...

    def of(self, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of some items and the row of totals, copied: float64 [N, W], float64 [1, W]."""
        ...

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """All rows and the row of totals: float64 [I, W], float64 [1, W]."""
        ...


class ArmStatistics:
    """Statistics in memory; items that were never added read as zeros.

    Args:
        forgetting: how the past is weighed.

    Example:
        >>> arms = ArmStatistics()
        >>> one = np.ones(2)
        >>> arms.add(Feedback(np.array([5, 5]), np.array([1.0, 0]), np.array([10, 20]), one))
        >>> moments, total = arms.read(np.array([5, 9]), at=30)
        >>> moments.count_N.tolist(), moments.sum_N.tolist(), total, arms.as_of
        ([2.0, 0.0], [1.0, 0.0], 2.0, 20)
    """

    def __init__(self, forgetting: Forgetting | None = None) -> None:
        self.forgetting: Forgetting = Stationary() if forgetting is None else forgetting
        self._row_IW = self.forgetting.empty(_LEAST_ROWS)
        self._total_1W = self.forgetting.empty(1)
        self._n_items = 0

    @property
    def as_of(self) -> int:
        """Latest event time added."""
        return int(self._total_1W[0, 0])

    def add(self, feedback: Feedback, value_E: np.ndarray | None = None) -> None:
        """See `Statistics.add`."""
        if len(feedback) == 0:
            return
        item_E, value_E, time_E = columns(feedback, value_E)
        self._grow(int(item_E.max()) + 1)
        self.forgetting.add(self._row_IW, item_E, value_E, time_E)
        self.forgetting.add(self._total_1W, np.zeros_like(item_E), value_E, time_E)

    def read(self, item_N: np.ndarray, at: int) -> tuple[Moments, float]:
        """See `Statistics.read`."""
        row_NW, _ = self.of(item_N)
        moment = float(max(at, self.as_of))
        total = self.forgetting.read(self._total_1W, moment)
        return self.forgetting.read(row_NW, moment), float(total.count_N[0])

    def of(self, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Statistics.of`."""
        known_N = item_N < self._n_items
        row_NW = self._row_IW[np.where(known_N, item_N, 0)]
        if not known_N.all():
            row_NW[~known_N] = self.forgetting.empty(1)
        return row_NW, self._total_1W.copy()

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Statistics.rows`."""
        return self._row_IW[: self._n_items].copy(), self._total_1W.copy()

    def _grow(self, n_items: int) -> None:
        if n_items > len(self._row_IW):
            grown_IW = self.forgetting.empty(max(n_items, 2 * len(self._row_IW)))
            grown_IW[: len(self._row_IW)] = self._row_IW
            self._row_IW = grown_IW
        self._n_items = max(self._n_items, n_items)

    @classmethod
    def load(cls, artifact: Artifact, forgetting: Forgetting) -> ArmStatistics:
        """Read what `save_statistics` wrote."""
        arrays = artifact.arrays(_FILE)
        arms = cls(forgetting)
        arms._grow(len(arrays["row_IW"]))
        arms._row_IW[: arms._n_items] = arrays["row_IW"]
        arms._total_1W = arrays["total_1W"]
        return arms


def save_statistics(writer: Writer, statistics: Statistics) -> None:
    """Write statistics, in memory or shared; they are read back into memory."""
    row_IW, total_1W = statistics.rows()
    writer.arrays(_FILE, {"row_IW": row_IW, "total_1W": total_1W})


def columns(
    feedback: Feedback, value_E: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items, values and times of a batch as the rules take them: int64, float64, int64 [E]."""
    value_E = feedback.reward_E if value_E is None else value_E
    return (
        np.ascontiguousarray(feedback.item_E, dtype=np.int64),
        np.ascontiguousarray(value_E, dtype=np.float64),
        np.ascontiguousarray(feedback.time_E, dtype=np.int64),
    )
