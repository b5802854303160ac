"""What bounds exploration remembers: slots shown, and the rewards of explored and of greedy ones.

Both are kept in a sliding window of event time. A guard compares the mean reward of explored slots with
that of greedy ones; rewards of an answer are not drawn evenly over slots, so that it guards against
harm and is no estimate of an effect.

Shape: K slots of a decision, E feedback rows.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from muma.config import Config
from muma.policy.sliding_window import SlidingWindow, SlidingWindowConfig

PANES = 12
_GREEDY, _EXPLORED = 0, 1  # rows of the rewards


class Limits(Config):
    """How much exploration is allowed; None: any.

    Attributes:
        per_request: most explored slots in an answer.
        share: a slot is explored only if explored slots, it included, are at most this share of the
            slots in the horizon. Where greedy slots leave the horizon the share can pass it for a while,
            and then nothing is explored until it is back.
        least_propensity: candidates with a smaller chance lose it to the others, the least likely first.
        guard_ratio: exploration stops while the mean reward of explored slots is, beyond doubt, under
            this share of that of greedy slots; it is tried again when the evidence has left the horizon.
        guard_evidence: slots of each kind below which the guard does not judge.
        guard_doubt: standard errors that count as doubt, in one look. The guard looks at every request,
            so that over a day it stops in vain more often than that.
        horizon_us: length of the sliding window, microseconds; a multiple of 12.
    """

    per_request: int | None = Field(default=None, ge=0)
    share: float | None = Field(default=None, ge=0, le=1)
    least_propensity: float = Field(default=0.0, ge=0, le=1)
    guard_ratio: float | None = Field(default=None, gt=0)
    guard_evidence: int = Field(default=200, ge=2)
    guard_doubt: float = Field(default=2.0, ge=0)
    horizon_us: int = Field(default=3_600_000_000, gt=0)

    @model_validator(mode="after")
    def _whole_panes(self) -> Limits:
        if self.horizon_us % PANES:
            raise ValueError(f"a horizon of {self.horizon_us} us is no multiple of {PANES}")
        return self


class Ledger:
    """Slots and rewards in the horizon; the order in which they are noted changes nothing.

    Args:
        limits: what is allowed.

    Example:
        >>> ledger = Ledger(Limits(share=0.5, horizon_us=120))
        >>> ledger.shown(np.array([True, False]), time=100)
        >>> [ledger.room(at, 0, 0) for at in (110, 400)]  # a third slot of three, then the first
        [False, False]
        >>> ledger.room(110, slots=1, explored=0)
        True
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        pane_us = limits.horizon_us // PANES
        self._window = SlidingWindow(
            SlidingWindowConfig(length_us=limits.horizon_us, pane_us=pane_us)
        )
        self.slots_1W = self._window.empty(1)
        self.rewards_2W = self._window.empty(2)

    def shown(self, explored_K: np.ndarray, time: int) -> None:
        """Note the slots of a decision."""
        n = len(explored_K)
        time_K = np.full(n, time, dtype=np.int64)
        value_K = np.asarray(explored_K, dtype=np.float64)
        self._window.add(self.slots_1W, np.zeros(n, dtype=np.int64), value_K, time_K)

    def rewarded(self, explored_E: np.ndarray, reward_E: np.ndarray, time_E: np.ndarray) -> None:
        """Note rewards."""
        row_E = np.where(np.asarray(explored_E, dtype=bool), _EXPLORED, _GREEDY)
        self._window.add(
            self.rewards_2W,
            row_E.astype(np.int64),
            np.ascontiguousarray(reward_E, dtype=np.float64),
            np.ascontiguousarray(time_E, dtype=np.int64),
        )

    def room(self, at: int, slots: int, explored: int) -> bool:
        """Whether one more slot of an answer may be explored.

        Args:
            at: event time of the request.
            slots: slots of the answer before this one.
            explored: how many of them were explored.
        """
        limits = self.limits
        if limits.per_request is not None and explored >= limits.per_request:
            return False
        if limits.share is None:
            return True
        seen = self._window.read(self.slots_1W, float(max(at, self.slots_1W[0, 0])))
        most = limits.share * (seen.count_N[0] + slots + 1)
        return bool(seen.sum_N[0] + explored + 1 <= most + 1e-9)

    def guarded(self, at: int) -> bool:
        """Whether the guard has stopped exploration."""
        limits = self.limits
        if limits.guard_ratio is None:
            return False
        seen = self._window.read(self.rewards_2W, float(max(at, self.rewards_2W[:, 0].max())))
        if seen.count_N.min() < limits.guard_evidence:
            return False
        ratio = limits.guard_ratio
        mean_2, square_2 = seen.sum_N / seen.count_N, seen.square_N / seen.count_N
        variance_2 = np.maximum(square_2 - mean_2**2, 0.0)
        # explored slots that got nothing show no variance, and yet prove little: they vary at least as
        # greedy ones would with this share of their rewards
        due = ratio * square_2[_GREEDY] - (ratio * mean_2[_GREEDY]) ** 2
        variance_2[_EXPLORED] = max(variance_2[_EXPLORED], due)
        error_2 = variance_2 / seen.count_N
        gap = mean_2[_EXPLORED] - ratio * mean_2[_GREEDY]
        doubt = np.sqrt(error_2[_EXPLORED] + ratio**2 * error_2[_GREEDY])
        return bool(gap + limits.guard_doubt * doubt < 0)


def likely_enough(p_N: np.ndarray, order_N: np.ndarray, least: float) -> np.ndarray:
    """Probabilities without the least likely candidates, so that none left is under `least`.

    The most likely ones are kept, as many as all have at least `least` when they share the chance; ties
    go by `order_N`, places of the best first.

    Example:
        >>> likely_enough(np.array([0.5, 0.46, 0.04]), np.arange(3), 0.1).round(4).tolist()
        [0.5208, 0.4792, 0.0]
    """
    rank_N = np.empty(len(p_N), dtype=np.int64)
    rank_N[order_N] = np.arange(len(p_N))
    falling_N = np.lexsort((rank_N, -p_N))
    sorted_N = p_N[falling_N]
    fine_N = (sorted_N > 0) & (sorted_N >= least * np.cumsum(sorted_N))
    kept_n = falling_N[: int(np.count_nonzero(fine_N))]  # the share falls with the rank
    left_N = np.zeros(len(p_N))
    left_N[kept_n] = p_N[kept_n] / p_N[kept_n].sum()
    return left_N
