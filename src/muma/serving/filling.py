"""Slots filled by a policy among what the rules leave open, with the chance of every choice.

The rules say which candidates may take the next slot given the ones before (caps, quotas, pins). To the
policy the others are gone, so that it draws among the open ones alone: given the slots before, nothing
else decides, and the propensities are exact.

Shape: N candidates, K slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from muma.policy.floor import rank
from muma.policy.once import JudgedOnce
from muma.policy.policy import Context, Policy
from muma.policy.slot_kernels import drawn
from muma.ranking.ranker import Slate

Open = Callable[[int, Sequence[int]], np.ndarray]
"""Slot from 0, places chosen so far -> which candidates may take it, boolean [N]."""


@dataclass(frozen=True)
class Filled:
    """Places in slot order.

    Attributes:
        place_K: places in the slate, int64 [K].
        propensity_K: float64 [K], in (0, 1].
        support_K: candidates with a chance, int64 [K].
        explored_K: whether another than the best open one took the slot, boolean [K].
    """

    place_K: np.ndarray
    propensity_K: np.ndarray
    support_K: np.ndarray
    explored_K: np.ndarray

    def __len__(self) -> int:
        """Slots that were filled."""
        return len(self.place_K)

    def take(self, keep_K: np.ndarray) -> Filled:
        """Some of the slots."""
        return Filled(
            self.place_K[keep_K], self.propensity_K[keep_K], self.support_K[keep_K],
            self.explored_K[keep_K],
        )  # fmt: skip


def fill(
    policy: Policy,
    slate: Slate,
    context: Context,
    u_K: np.ndarray,
    may: Open,
    *,
    free_N: np.ndarray | None = None,
) -> Filled:
    """Fill at most K slots; fewer when no candidate may take one.

    A slot that one candidate alone may take is its own, with propensity 1.

    Args:
        policy: draws.
        slate: the candidates.
        context: who asks.
        u_K: the request's own numbers, uniform in [0, 1), one a slot.
        may: the rules.
        free_N: candidates that may take any slot, where the rules say no more than that; None otherwise.
    """
    u_K = u_K[: len(slate)]
    if free_N is not None and len(slate) and isinstance(policy, JudgedOnce):
        found = policy.filled(slate, context, free_N, u_K)
        if found is not None:
            place_K, p_K, support_K, best_K = found
            return Filled(place_K, p_K, support_K, place_K != best_K)
    chosen: list[int] = []
    propensity, support, explored = [], [], []
    order_N = _best_first(policy, slate, context) if len(slate) else np.zeros(0, dtype=np.int64)
    for slot, u in enumerate(u_K.tolist()):
        open_N = may(slot, chosen)
        if not open_N.any():
            break
        p_N = slot_chances(policy, slate, context, chosen, open_N)
        place, with_chance, best = drawn(p_N, u, order_N, open_N)
        propensity.append(min(float(p_N[place]), 1.0))
        support.append(with_chance)
        explored.append(place != best)
        chosen.append(place)
    return Filled(
        np.array(chosen, dtype=np.int64), np.array(propensity, dtype=np.float64),
        np.array(support, dtype=np.int64), np.array(explored, dtype=bool),
    )  # fmt: skip


def _best_first(policy: Policy, slate: Slate, context: Context) -> np.ndarray:
    if isinstance(policy, JudgedOnce):
        return policy.best_first(slate, context)
    return rank(policy.expected(slate, context), slate.score_N, slate.item_N)


def slot_chances(
    policy: Policy, slate: Slate, context: Context, chosen: Sequence[int], open_N: np.ndarray
) -> np.ndarray:
    """Chance of each candidate in the next slot, float64 [N]; a slot that one alone may take is its own.

    Args:
        policy: draws.
        slate: the candidates.
        context: who asks.
        chosen: places in the slots before.
        open_N: candidates that the rules let in; one at least, none of them chosen.
    """
    if np.count_nonzero(open_N) == 1:
        return open_N.astype(np.float64)
    if isinstance(policy, JudgedOnce):
        return policy.among(slate, context, open_N)
    closed_N = ~open_N
    closed_N[list(chosen)] = False
    return policy.next_slot(slate, context, chosen, np.flatnonzero(closed_N).tolist())
