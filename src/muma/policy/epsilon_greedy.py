"""Epsilon-greedy: the highest mean, but with chance epsilon any candidate; epsilon falls as data come.

    epsilon(t) = max(least, epsilon 2^(-t / half-life))

with t the slots learned from (weighted, where the statistics forget: exploration then comes back after a
silence).

Shape: N candidates.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from muma.policy.arms import ArmConfig, ArmPolicy
from muma.policy.floor import floored, one_hot, rank
from muma.policy.policy import Context
from muma.policy.sequential import Judgement
from muma.policy.statistics import Statistics
from muma.policy.stochastic_ucb import even_mix
from muma.ranking.ranker import Slate


class EpsilonGreedyConfig(ArmConfig):
    """Settings of epsilon-greedy.

    Attributes:
        epsilon: chance of an even draw at the beginning.
        half_life: slots learned from until it is half as large; None: it stays.
        least: it never falls below.
    """

    epsilon: float = Field(default=0.1, ge=0, le=1)
    half_life: float | None = Field(default=None, gt=0)
    least: float = Field(default=0.01, ge=0, le=1)


class EpsilonGreedy(ArmPolicy[EpsilonGreedyConfig]):
    """Shows the highest mean reward, or any candidate.

    Args:
        config: the settings.
        statistics: where they are kept; None: in memory.

    Example:
        >>> import numpy as np
        >>> policy = EpsilonGreedy(EpsilonGreedyConfig(epsilon=0.2))
        >>> slate = Slate.plain(np.array([4, 7]), np.array([0.0, 1.0]))
        >>> policy.next_slot(slate, Context("r1", time=0), taken=[]).round(4).tolist()
        [0.1008, 0.8992]
    """

    name: ClassVar[str] = "epsilon-greedy"

    def __init__(
        self,
        config: EpsilonGreedyConfig = EpsilonGreedyConfig(),
        *,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__(config, statistics=statistics)

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request."""
        evidence = self.evidence(slate, context)
        epsilon = self.epsilon(evidence.total)
        order_N = rank(evidence.mean_N, slate.score_N, slate.item_N)
        return Judgement(
            expected_N=evidence.mean_N,
            greedy_N=order_N,
            slot=floored(
                lambda place_n: even_mix(one_hot(place_n), epsilon), order_N, self.config.floor
            ),
            floor=self.config.floor.least,
        )

    def epsilon(self, total: float) -> float:
        """Chance of an even draw after `total` slots were learned from."""
        config = self.config
        decay = 1.0 if config.half_life is None else 2.0 ** (-total / config.half_life)
        return min(config.epsilon, max(config.least, config.epsilon * decay))
