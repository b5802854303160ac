"""Determinantal point process: the set that is both relevant and spread out, chosen greedily.

    log P(R) = theta * sum over R of relevance(i) + (1 - theta) * log det S_R,   S_ij = (1 + cos_ij) / 2

Each step adds the item that raises log P most. A Cholesky factor of S_R grows by one row a step, so
that k of N items take O(k^2 N) beside the dot products.

Reference: Chen, Zhang and Zhou, "Fast greedy MAP inference for determinantal point process to improve
recommendation diversity", NeurIPS 2018 (Algorithm 1, eq. 17 and 18).

Shape: N candidates, D width of item vectors.
"""

from __future__ import annotations

import numba
import numpy as np
from pydantic import Field

from muma.config import Config
from muma.ranking.ranker import Slate
from muma.ranking.reranker import ItemFeatures, checked
from muma.ranking.rerankers.similarity import Similarity, relevance, unit_vectors

_FLAT = 1e-10  # a residual variance below this is rounding: the item lies in the span of the chosen


class DPPConfig(Config):
    """Settings of the determinantal point process.

    Attributes:
        relevance_weight: theta, 0 to 1; 1 keeps the order of the scores.
        similarity: `"cosine"` of item vectors, or overlap of `"tags"`.
    """

    relevance_weight: float = Field(default=0.7, ge=0, le=1)
    similarity: Similarity = "cosine"


class DPP:
    """Greedy MAP of a determinantal point process.

    Args:
        config: the settings.
    """

    def __init__(self, config: DPPConfig = DPPConfig()) -> None:
        self.config = config

    def rerank(self, slate: Slate, k: int, features: ItemFeatures) -> Slate:
        """See `Reranker.rerank`; once nothing new is left, the rest follows in the slate's order."""
        n = checked(slate, k, features)
        unit_ND = unit_vectors(features, self.config.similarity, "DPP")
        place_n = _greedy(relevance(slate.score_N), unit_ND, self.config.relevance_weight, n)
        return slate.take(place_n)


@numba.njit(cache=True, nogil=True)
def _greedy(relevance_N: np.ndarray, unit_ND: np.ndarray, weight: float, n: int) -> np.ndarray:
    count = len(unit_ND)
    factor_Nn = np.zeros((count, n))
    residual_N = np.ones(count)
    free_N = np.ones(count, dtype=np.bool_)
    place_n = np.empty(n, dtype=np.int64)
    for step in range(n):
        best, best_value = -1, -np.inf
        for i in range(count):
            if free_N[i] and (residual_N[i] > _FLAT or weight == 1.0):
                spread = 0.0 if weight == 1.0 else (1.0 - weight) * np.log(residual_N[i])
                value = weight * relevance_N[i] + spread
                if best < 0 or value > best_value:
                    best, best_value = i, value
        if best < 0:  # the chosen span all that is left
            for i in range(count):
                if free_N[i]:
                    best = i
                    break
        place_n[step] = best
        free_N[best] = False
        if residual_N[best] <= _FLAT:
            continue
        _condition(factor_Nn, residual_N, unit_ND, free_N, best, step)
    return place_n


@numba.njit(cache=True, nogil=True)
def _condition(
    factor_Nn: np.ndarray,
    residual_N: np.ndarray,
    unit_ND: np.ndarray,
    free_N: np.ndarray,
    best: int,
    step: int,
) -> None:
    """Add a column to the Cholesky factor, and take its share off what is left of each item."""
    root = np.sqrt(residual_N[best])
    for i in range(len(free_N)):
        if free_N[i]:
            dot = 0.0
            for d in range(unit_ND.shape[1]):
                dot += unit_ND[i, d] * unit_ND[best, d]
            part = 0.5 + 0.5 * dot
            for s in range(step):
                part -= factor_Nn[i, s] * factor_Nn[best, s]
            part /= root
            factor_Nn[i, step] = part
            residual_N[i] -= part * part
