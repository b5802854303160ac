"""Statistics of one request's candidates as they stood at one moment: read once, the same for every slot.

What is held can be kept with the decision, so that the policy answers the same again later, whatever it
has learned meanwhile.

Shape: N candidates, W numbers a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.errors import DataError
from muma.policy.forgetting import Forgetting, Moments
from muma.policy.policy import Feedback


@dataclass(frozen=True)
class HeldStatistics:
    """`Statistics` that neither change nor know other items than theirs.

    Attributes:
        item_N: dense items, each once.
        row_NW: the row of each, float64 [N, W].
        total_1W: the row of totals, float64 [1, W].
        forgetting: how the past is weighed.

    Example:
        >>> from muma.policy.statistics import ArmStatistics
        >>> arms = ArmStatistics()
        >>> one = np.ones(1)
        >>> arms.add(Feedback(np.array([7]), one, np.array([10]), one))
        >>> held = HeldStatistics(np.array([9, 7]), *arms.of(np.array([9, 7])), arms.forgetting)
        >>> arms.add(Feedback(np.array([7]), one, np.array([20]), one))
        >>> held.read(np.array([7, 9]), at=30)[0].count_N.tolist()
        [1.0, 0.0]
    """

    item_N: np.ndarray
    row_NW: np.ndarray
    total_1W: np.ndarray
    forgetting: Forgetting

    @property
    def as_of(self) -> int:
        """Latest event time in all statistics then, microseconds; -1 for none."""
        return int(self.total_1W[0, 0])

    def add(self, feedback: Feedback, value_E: np.ndarray | None = None) -> None:
        """Refuse it: what is held is of one moment.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"got {len(feedback)} rows of feedback{'' if value_E is None else ' with values'} for "
            "statistics of one moment; hand them to the policy that these are of"
        )

    def of(self, item_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of some of the items, and the row of totals.

        Raises:
            DataError: another item is asked for.
        """
        order = np.argsort(self.item_N, kind="stable")
        place_N = np.searchsorted(self.item_N, item_N, sorter=order)
        found_N = order[np.minimum(place_N, len(order) - 1)] if len(order) else place_N[:0]
        if len(found_N) != len(item_N) or (self.item_N[found_N] != item_N).any():
            raise DataError(
                f"only statistics of {len(self.item_N)} items are held; others were asked"
            )
        return self.row_NW[found_N], self.total_1W

    def read(self, item_N: np.ndarray, at: int) -> tuple[Moments, float]:
        """See `Statistics.read`."""
        row_NW, total_1W = self.of(item_N)
        moment = float(max(at, self.as_of))
        total = self.forgetting.read(total_1W.copy(), moment)
        return self.forgetting.read(row_NW, moment), float(total.count_N[0])

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Statistics.rows`."""
        row_IW = self.forgetting.empty(int(self.item_N.max(initial=-1)) + 1)
        row_IW[self.item_N] = self.row_NW
        return row_IW, self.total_1W.copy()
