"""Thompson sampling over a Gaussian posterior of the candidates' values, by shared draws.

The probability that a candidate is the best of those left is its share of M draws of all values
together. The draws belong to the request (seed and request id), so that the same request is judged the
same way; slots are drawn from the shares themselves, so that the logged propensities are exact. What is
approximate is only how near they come to the posterior's own probabilities: within 3 standard
errors, 3 sqrt(1 / 4 M) = 1.5 / sqrt(M) at most (99.7 % for one candidate).

Shape: N candidates, M draws.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.policy.floor import Floor, floored, rank
from muma.policy.kernels import best_shares
from muma.policy.linear_statistics import LinearConfig
from muma.policy.prior import Prior
from muma.policy.sequential import Judgement
from muma.ranking.ranker import Slate


class LinearThompsonConfig(LinearConfig):
    """Settings of Thompson sampling; those of the linear model are `LinearConfig`'s.

    Attributes:
        inflation: factor of the posterior's standard deviations; above 1 explores more.
        draws: M, shared draws of a request.
        seed: of the draws.
        floor: least probability of a candidate.
        prior: imagined rewards of each candidate, for example of the ranker's probability.
    """

    inflation: float = Field(default=1.0, gt=0)
    draws: int = Field(default=1000, ge=1)
    seed: int = 0
    floor: Floor = Floor()
    prior: Prior = Prior(strength=0.0)


def judged(
    slate: Slate, mean_N: np.ndarray, draw_MN: np.ndarray, config: LinearThompsonConfig
) -> Judgement:
    """The judgement that follows from draws of the candidates' values.

    The support, where the floor bounds it, is the candidates that are most often the best.

    Args:
        slate: the candidates.
        mean_N: posterior means.
        draw_MN: contiguous float64 [M, N].
        config: floor and number of draws.
    """
    shares = _Shares(draw_MN)
    share_N = shares(np.zeros(len(slate), dtype=bool))
    order_N = rank(share_N, mean_N, slate.item_N)
    greedy_N = rank(mean_N, slate.score_N, slate.item_N)

    def chance(support_n: np.ndarray) -> np.ndarray:
        out_N = np.ones(len(slate), dtype=bool)
        out_N[support_n] = False
        return shares(out_N)[support_n]

    slot = floored(chance, order_N, config.floor)
    return Judgement(mean_N, greedy_N, slot, config.floor.least, error=1.5 / np.sqrt(len(draw_MN)))


class _Shares:
    """Share of draws that each candidate wins, of those that are not out; remembers the winners.

    The answer does not depend on what was asked before.
    """

    def __init__(self, draw_MN: np.ndarray) -> None:
        self._draw_MN = np.ascontiguousarray(draw_MN)
        self._out_N = np.ones(draw_MN.shape[1], dtype=bool)
        self._best_M, self._ties_M = (np.full(len(draw_MN), -1, np.int64) for _ in range(2))

    def __call__(self, out_N: np.ndarray) -> np.ndarray:
        if (self._out_N & ~out_N).any():  # someone came in who may have won
            self._best_M[:] = -1
        self._out_N = out_N
        return best_shares(self._draw_MN, out_N, self._best_M, self._ties_M)
