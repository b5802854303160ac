"""LinUCB: an upper confidence bound that is linear in the candidates' features.

    index = z' theta + alpha sqrt(z' A^-1 z)

Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article
recommendation", WWW 2010, algorithm 1, with one model shared by all items: the slate's features already
join the user with the item, and an item that was never shown starts from what it is like. The bound alone
would be deterministic and give no propensities (row 3 of the paper's fixes): by default slots are drawn
from a softmax over it; `choice = "best"` is the literal form.

Shape: N candidates, F features, D design columns.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from muma.policy.floor import Floor, floored, one_hot, rank
from muma.policy.linear_policy import LinearPolicy
from muma.policy.linear_statistics import LinearConfig, LinearStatistics, leaned
from muma.policy.policy import Context
from muma.policy.prior import Prior
from muma.policy.sequential import Judgement
from muma.policy.shared_linear import SharedLinear
from muma.policy.softmax import softmax
from muma.policy.stochastic_ucb import even_mix
from muma.ranking.ranker import Slate


class LinUCBConfig(LinearConfig):
    """Settings of LinUCB; those of the linear model are `LinearConfig`'s.

    Attributes:
        alpha: factor of the width; it stands for the noise as well (0.5 is the most that a reward in
            [0, 1] can have).
        choice: `"softmax"` over the index, `"epsilon"` (the best, or uniformly any), or `"best"`.
        temperature: of the softmax, in rewards: an index lower by this much is e times less likely.
        epsilon: chance that a slot goes to a uniformly drawn candidate.
        floor: least probability of a candidate; none under `"best"`.
        prior: imagined rewards of each candidate, for example of the ranker's probability.
    """

    alpha: float = Field(default=0.5, ge=0)
    choice: Literal["softmax", "epsilon", "best"] = "softmax"
    temperature: float = Field(default=0.02, gt=0)
    epsilon: float = Field(default=0.05, ge=0, le=1)
    floor: Floor = Floor()
    prior: Prior = Prior(strength=0.0)


class LinUCB(LinearPolicy[LinUCBConfig]):
    """Linear upper confidence bounds over the slate's features.

    Args:
        config: the settings.

    Example:
        >>> from muma.policy.policy import Feedback
        >>> value_NF = np.array([[0.0], [1.0]], np.float32)
        >>> slate = Slate.plain(np.array([4, 7]), value_NF=value_NF, columns=("fresh",))
        >>> policy = LinUCB(LinUCBConfig(choice="best"))
        >>> nothing, one = np.zeros(1, np.int64), np.ones(1)
        >>> for item, reward in ((4, 0.0), (7, 1.0)):
        ...     policy.learn(
        ...         Feedback(nothing + item, reward * one, nothing, one, value_NF[[int(reward)]])
        ...     )
        >>> policy.next_slot(slate, Context("r1", time=0), []).tolist()
        [0.0, 1.0]
    """

    name: ClassVar[str] = "linucb"

    def __init__(
        self,
        config: LinUCBConfig = LinUCBConfig(),
        *,
        statistics: LinearStatistics | SharedLinear | None = None,
    ) -> None:
        super().__init__(config, statistics=statistics)

    def index(self, slate: Slate) -> tuple[np.ndarray, np.ndarray]:
        """Expected reward and upper confidence bound of each candidate; two float64 [N].

        Raises:
            DataError: the features are of another width than learned from, or infinite.
        """
        posterior = self.statistics.posterior(slate.value_NF.shape[1])
        moments = posterior.moments(posterior.design(slate.value_NF))
        mean_N, spread_N = leaned(*moments, self.config.prior, slate)
        return mean_N, mean_N + self.config.alpha * spread_N

    def judge(self, slate: Slate, context: Context) -> Judgement:  # noqa: ARG002 - the contract's
        """Judge a request."""
        mean_N, index_N = self.index(slate)
        order_N = rank(index_N, slate.score_N, slate.item_N)
        greedy_N = rank(mean_N, slate.score_N, slate.item_N)
        config = self.config
        if config.choice == "best":
            slot = floored(one_hot, order_N, Floor(least=0.0))
            return Judgement(mean_N, greedy_N, slot, floor=1.0)

        def chance(place_n: np.ndarray) -> np.ndarray:
            if config.choice == "epsilon":
                return even_mix(one_hot(place_n), config.epsilon)
            return softmax(index_N[place_n], config.temperature)

        slot = floored(chance, order_N, config.floor)
        return Judgement(mean_N, greedy_N, slot, floor=config.floor.least)
