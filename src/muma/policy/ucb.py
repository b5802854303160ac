"""Upper confidence bounds, the paper's eq. 12 to the letter.

    Q(i) = mu(i) + sqrt(2 ln t / n(i))

(Auer, Cesa-Bianchi and Fischer, 2002: UCB1.) The best index takes the slot with probability 1, so that
no other policy can be judged on what this one logged: `StochasticUCB` is the same with a chance for all.

Shape: N candidates.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from muma.policy.arms import ArmConfig, ArmPolicy, Evidence
from muma.policy.floor import Floor, floored, one_hot, rank
from muma.policy.policy import Context
from muma.policy.prior import Prior
from muma.policy.sequential import Judgement
from muma.policy.statistics import Statistics
from muma.ranking.ranker import Slate

_NONE = Floor(least=0.0)


class UCBConfig(ArmConfig):
    """Settings of UCB; the floor is not looked at, as there is no chance to put it under.

    Attributes:
        prior: none, so that an item that was never shown comes first.
        bonus: factor of the square root; 1 is the paper's.
    """

    prior: Prior = Prior(strength=0)
    bonus: float = 1.0


class UCB(ArmPolicy[UCBConfig]):
    """Shows the highest indices; items never shown first, in the ranker's order.

    Rewards must lie in [0, 1] for the bound to mean anything; `learn` refuses others.

    Args:
        config: the settings.
        statistics: where they are kept; None: in memory.

    Example:
        >>> policy = UCB()
        >>> slate = Slate.plain(np.array([4, 7]))
        >>> policy.next_slot(slate, Context("r1", time=0), taken=[]).tolist()
        [1.0, 0.0]
    """

    name: ClassVar[str] = "ucb"

    def __init__(
        self, config: UCBConfig = UCBConfig(), *, statistics: Statistics | None = None
    ) -> None:
        super().__init__(config, statistics=statistics)

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request."""
        evidence = self.evidence(slate, context)
        order_N = rank(ucb_index(evidence, self.config.bonus), slate.score_N, slate.item_N)
        return Judgement(
            expected_N=evidence.mean_N,
            greedy_N=rank(evidence.mean_N, slate.score_N, slate.item_N),
            slot=floored(one_hot, order_N, _NONE),
            floor=1.0,
        )


def ucb_index(evidence: Evidence, bonus: float = 1.0) -> np.ndarray:
    """Q of each candidate (eq. 12), float64 [N]; infinite where nothing is known.

    t is the number of slots learned from, over all items, at least 1; imagined rewards of a prior are in
    n and mu, not in t.
    """
    log_t = np.log(max(evidence.total, 1.0))
    n = len(evidence.count_N)
    ratio_N = np.divide(
        2 * log_t, evidence.count_N, out=np.full(n, np.inf), where=evidence.count_N > 0
    )
    return np.where(evidence.count_N > 0, evidence.mean_N + bonus * np.sqrt(ratio_N), np.inf)
