"""LinTS: Thompson sampling with a linear model of the candidates' features.

    theta ~ N(A^-1 b, inflation^2 s^2 A^-1),   value_i = z_i' theta

Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013. All
candidates share the drawn weights: like candidates rise and fall together, and the probability that each
is the best takes that into account.

Shape: N candidates, M draws, D design columns.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from muma.policy.linear_policy import LinearPolicy
from muma.policy.linear_statistics import LinearStatistics, leaned
from muma.policy.linear_thompson import LinearThompsonConfig, judged
from muma.policy.policy import Context
from muma.policy.sequential import Judgement
from muma.policy.shared_linear import SharedLinear
from muma.ranking.ranker import Slate
from muma.rng import derive


class LinTSConfig(LinearThompsonConfig):
    """Settings of LinTS; see `LinearThompsonConfig`."""


class LinTS(LinearPolicy[LinTSConfig]):
    """Linear Thompson sampling over the slate's features, one model for all items.

    Args:
        config: the settings.

    Example:
        >>> from muma.policy.policy import Feedback
        >>> value_NF = np.array([[0.0], [1.0]], np.float32)
        >>> slate = Slate.plain(np.array([4, 7]), value_NF=value_NF, columns=("fresh",))
        >>> policy, time_E = LinTS(), np.zeros(400, np.int64)
        >>> place_E = np.arange(400) % 2
        >>> policy.learn(Feedback(slate.item_N[place_E], 1.0 * place_E, time_E, np.full(400, 0.5),
        ...                       value_NF[place_E]))
        >>> policy.next_slot(slate, Context("r1", time=0), []).tolist()
        [0.001, 0.999]
    """

    name: ClassVar[str] = "lints"

    def __init__(
        self,
        config: LinTSConfig = LinTSConfig(),
        *,
        statistics: LinearStatistics | SharedLinear | None = None,
    ) -> None:
        super().__init__(config, statistics=statistics)

    def judge(self, slate: Slate, context: Context) -> Judgement:
        """Judge a request.

        The ranker's prior moves means and shrinks deviations candidate by candidate; correlations stay.
        """
        config = self.config
        posterior = self.statistics.posterior(slate.value_NF.shape[1])
        z_ND = posterior.design(slate.value_NF)
        own_N, spread_N = posterior.moments(z_ND)
        mean_N, left_N = leaned(own_N, spread_N, config.prior, slate)
        shrink_N = np.divide(left_N, spread_N, out=np.ones_like(left_N), where=spread_N > 0)
        rng = derive(config.seed, "lints", context.request_id)
        normal_MD = rng.normal(size=(config.draws, z_ND.shape[1]))
        scaled_ND = (z_ND @ posterior.root_DD) * (shrink_N * posterior.noise * config.inflation)[
            :, None
        ]
        return judged(slate, mean_N, mean_N + normal_MD @ scaled_ND.T, config)
