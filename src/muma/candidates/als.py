"""Implicit-feedback matrix factorisation by alternating least squares.

    min over p, q of  sum_ui c_ui (1[x_ui > 0] - p_u . q_i)^2 + l2 (sum |p_u|^2 + sum |q_i|^2),
    c_ui = alpha x_ui where x_ui > 0, else 1;   score_ui = p_u . q_i

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, as the
library `implicit` (extra `mf`) computes it: its confidence is alpha x, not 1 + alpha x. A history in hand
is folded in: one solve for p with the items' factors as they are (the factors kept for the users of the
log are half a sweep older).

Shape: B users, U users of the vocabulary, F fitted items, D factors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from muma.candidates.base import ModelConfig
from muma.candidates.factors import FactorModel, factorise
from muma.candidates.fold import folded
from muma.candidates.live import History, greatest
from muma.events.interactions import Interactions


class ALSConfig(ModelConfig):
    """Parameters of `ALS`.

    Attributes:
        factors: D.
        l2: penalty on the factors.
        alpha: confidence of an interaction of weight 1.
        iterations: sweeps over users and items.
        threads: threads of the solver; 0 takes every core.
        seed: seed of the first factors.
    """

    name: str = "als"
    factors: int = Field(default=64, ge=1)
    l2: float = Field(default=10.0, ge=0)
    alpha: float = Field(default=5.0, gt=0)
    iterations: int = Field(default=15, ge=1)
    threads: int = Field(default=1, ge=0)
    seed: int = Field(default=1, ge=0)


class ALS(FactorModel):
    """Weighted matrix factorisation.

    Example:
        >>> from muma.testing.logs import random_log
        >>> model = ALS(ALSConfig(factors=4)).fit(random_log(1))
        >>> model.propose(np.array([0, 1]), 3).item_BN.shape
        (2, 3)
    """

    config: ALSConfig

    def __init__(self, config: ALSConfig | None = None) -> None:
        super().__init__(config or ALSConfig())

    def _learn(self, history: Interactions) -> Mapping[str, np.ndarray]:
        return factorise(
            "implicit.als",
            "AlternatingLeastSquares",
            history,
            factors=self.config.factors,
            regularization=self.config.l2,
            alpha=self.config.alpha,
            iterations=self.config.iterations,
            num_threads=self.config.threads,
            random_state=self.config.seed,
        )

    def _ready(self, learned: Mapping[str, np.ndarray], history: Interactions) -> None:
        super()._ready(learned, history)
        item_FD = self._item_FD.astype(np.float64)
        self._item_DF = np.ascontiguousarray(self._item_FD.T)
        self._gram_DD = item_FD.T @ item_FD + self.config.l2 * np.eye(item_FD.shape[1])

    def _score_history(self, history: History) -> np.ndarray:
        item_L, weight_L = greatest(history.item_L, history.weight_L)
        confidence_L = self.config.alpha * weight_L.astype(np.float64)
        return folded(self._item_DF, self._gram_DD, item_L, confidence_L)
