"""The paper's integrated cycle (3.5.3) to the letter, kept to be measured against: it is biased.

    Q(i) = mu(i) + sqrt(2 ln t / n(i))            (eq. 12)
    mu(i) = mean over the n(i) rounds that selected i of r(i) / p(i)      (eq. 13)

The mean of r / p over *selected* rounds estimates mu(i) E[1 / p(i)], not mu(i): an item of true rate
0.05 that is shown with p = 0.01 looks like 5. (Divided by all t rounds, r / p estimates mu(i); but a
policy that knows its own counts needs no weights for its means at all: `StochasticUCB`.) The bonus of
eq. 12 assumes rewards in [0, 1], which r / p leaves.

The paper does not define the policy pi that selects by Q and p; here it is the best index with chance
1 - mix and an even draw with chance `mix`, so that p is never 0.

Shape: N candidates, E feedback rows.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from muma.policy.arms import ArmConfig, ArmPolicy
from muma.policy.checks import check_feedback
from muma.policy.floor import Floor, floored, one_hot, rank
from muma.policy.policy import Context, Feedback
from muma.policy.prior import Prior
from muma.policy.sequential import Judgement
from muma.policy.statistics import Statistics
from muma.policy.stochastic_ucb import even_mix
from muma.policy.ucb import ucb_index
from muma.ranking.ranker import Slate


class CycleConfig(ArmConfig):
    """Settings of the paper's cycle.

    Attributes:
        prior: none.
        floor: none, `mix` is one.
        mix: chance of an even draw over the candidates left.
    """

    prior: Prior = Prior(strength=0)
    floor: Floor = Floor(least=0.0)
    mix: float = Field(default=0.05, gt=0, le=1)


class Cycle(ArmPolicy[CycleConfig]):
    """The literal cycle; its `expected` is the biased mean.

    Args:
        config: the settings.
        statistics: where they are kept; None: in memory.

    Example:
        >>> import numpy as np
        >>> policy = Cycle()
        >>> one = np.ones(1)
        >>> policy.learn(Feedback(np.array([4]), one, np.array([10]), propensity_E=0.01 * one))
        >>> policy.expected(Slate.plain(np.array([4])), Context("r1", time=20)).tolist()
        [100.0]
    """

    name: ClassVar[str] = "cycle"

    def __init__(
        self, config: CycleConfig = CycleConfig(), *, statistics: Statistics | None = None
    ) -> None:
        super().__init__(config, statistics=statistics)

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request."""
        evidence = self.evidence(slate, context)
        mix = self.config.mix
        order_N = rank(ucb_index(evidence), slate.score_N, slate.item_N)
        return Judgement(
            expected_N=evidence.mean_N,
            greedy_N=rank(evidence.mean_N, slate.score_N, slate.item_N),
            slot=floored(
                lambda place_n: even_mix(one_hot(place_n), mix), order_N, self.config.floor
            ),
            floor=max(self.config.floor.least, mix / len(slate)),
        )

    def learn(self, feedback: Feedback) -> None:
        """Average r / p over the selected rounds (eq. 13)."""
        check_feedback(feedback)
        self.statistics.add(feedback, feedback.reward_E / feedback.propensity_E)
