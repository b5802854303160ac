"""UCB with a chance for every candidate: softmax or epsilon over the index of eq. 12.

UCB explores by its bonus but leaves propensities of 0 and 1; drawn with chance, the same index can be
judged, and others on its log.

Shape: N candidates.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from muma.policy.arms import ArmConfig, ArmPolicy
from muma.policy.floor import floored, one_hot, rank
from muma.policy.policy import Context
from muma.policy.prior import Prior
from muma.policy.sequential import Judgement
from muma.policy.softmax import softmax
from muma.policy.statistics import Statistics
from muma.policy.ucb import ucb_index
from muma.ranking.ranker import Slate


class StochasticUCBConfig(ArmConfig):
    """Settings of stochastic UCB.

    Attributes:
        prior: none, so that items that were never shown share the chance before all others.
        bonus: factor of the square root; 1 is the paper's.
        draw: `"softmax"` over the index, or `"epsilon"`: the best index, but with chance epsilon any.
        temperature: of the softmax, in units of the reward.
        epsilon: chance of an even draw.
    """

    prior: Prior = Prior(strength=0)
    bonus: float = 1.0
    draw: Literal["softmax", "epsilon"] = "softmax"
    temperature: float = Field(default=0.02, gt=0)
    epsilon: float = Field(default=0.05, ge=0, le=1)


class StochasticUCB(ArmPolicy[StochasticUCBConfig]):
    """Draws slots by the index of eq. 12.

    Args:
        config: the settings.
        statistics: where they are kept; None: in memory.

    Example:
        >>> policy = StochasticUCB(StochasticUCBConfig(draw="epsilon", epsilon=0.1))
        >>> slate = Slate.plain(np.array([4, 7]))
        >>> policy.next_slot(slate, Context("r1", time=0), taken=[]).round(4).tolist()
        [0.9491, 0.0509]
    """

    name: ClassVar[str] = "stochastic-ucb"

    def __init__(
        self,
        config: StochasticUCBConfig = StochasticUCBConfig(),
        *,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__(config, statistics=statistics)

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request."""
        config = self.config
        evidence = self.evidence(slate, context)
        index_N = ucb_index(evidence, config.bonus)

        def chance(place_n: np.ndarray) -> np.ndarray:
            if config.draw == "epsilon":
                return even_mix(one_hot(place_n), config.epsilon)
            return softmax(index_N[place_n], config.temperature)

        return Judgement(
            expected_N=evidence.mean_N,
            greedy_N=rank(evidence.mean_N, slate.score_N, slate.item_N),
            slot=floored(chance, rank(index_N, slate.score_N, slate.item_N), config.floor),
            floor=config.floor.least,
        )


def even_mix(own_n: np.ndarray, epsilon: float) -> np.ndarray:
    """Probabilities of which the share `epsilon` is spread evenly, float64 [n].

    Example:
        >>> even_mix(np.array([1.0, 0.0]), 0.1).round(3).tolist()
        [0.95, 0.05]
    """
    return (1 - epsilon) * own_n + epsilon / len(own_n)
