"""The contract of off-policy evaluation: what was logged, and who asks.

The logging policy drew `action_B` with `propensity_B`; the target policy would draw action a with
`target_BA[:, a]`. Everything else is estimated from the two.

Shape: B rounds (a round is one slot of one answer), A actions, F features of the context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Logged:
    """One past under one logging policy; plain arrays, checked once by `check`.

    Attributes:
        action_B: int64 [B], which action was shown, in [0, `n_actions`).
        reward_B: float64 [B], what came back, finite.
        propensity_B: float64 [B], probability of the logged action under the policy that acted, in
            (0, 1].
        n_actions: A, actions there are.
        position_B: int64 [B], slot of the answer from 0; None where every round is one slot.
        unit_B: int64 [B], what is resampled as a whole: the answer or the user; None: each round.
        context_BF: float32 [B, F], what a reward model may see; None for none.
    """

    action_B: np.ndarray
    reward_B: np.ndarray
    propensity_B: np.ndarray
    n_actions: int
    position_B: np.ndarray | None = None
    unit_B: np.ndarray | None = None
    context_BF: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of rounds."""
        return len(self.action_B)
