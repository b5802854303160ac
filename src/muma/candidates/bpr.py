"""Matrix factorisation for Bayesian personalised ranking.

    max over p, q, b of  sum over (u, i taken, j not taken):  ln sigmoid(s_ui - s_uj) - l2 (...),
    s_ui = p_u . q_i + b_i

Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", UAI 2009, as the library
`implicit` (extra `mf`) computes it by stochastic gradient steps. More than one thread is faster and
no longer repeatable, because threads update the same factors.

Shape: B users, U users of the vocabulary, F fitted items, D factors (and one for the bias).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from muma.candidates.base import ModelConfig
from muma.candidates.factors import FactorModel, factorise
from muma.events.interactions import Interactions


class BPRConfig(ModelConfig):
    """Parameters of `BPR`.

    Attributes:
        factors: D.
        learning_rate: size of a gradient step.
        l2: penalty on factors and biases.
        iterations: passes; each samples as many triples as there are interactions.
        threads: threads of the solver; 0 takes every core; only 1 is repeatable.
        seed: seed of the first factors and of the sampling.
    """

    name: str = "bpr"
    factors: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    l2: float = Field(default=0.01, ge=0)
    iterations: int = Field(default=100, ge=1)
    threads: int = Field(default=1, ge=0)
    seed: int = Field(default=1, ge=0)


class BPR(FactorModel):
    """Pairwise-ranking matrix factorisation.

    Example:
        >>> from muma.testing.logs import random_log
        >>> model = BPR(BPRConfig(factors=4, iterations=5)).fit(random_log(1))
        >>> model.propose(np.array([0, 1]), 3).item_BN.shape
        (2, 3)
    """

    config: BPRConfig

    def __init__(self, config: BPRConfig | None = None) -> None:
        super().__init__(config or BPRConfig())

    def _learn(self, history: Interactions) -> Mapping[str, np.ndarray]:
        return factorise(
            "implicit.bpr",
            "BayesianPersonalizedRanking",
            history,
            factors=self.config.factors,
            learning_rate=self.config.learning_rate,
            regularization=self.config.l2,
            iterations=self.config.iterations,
            num_threads=self.config.threads,
            random_state=self.config.seed,
        )
