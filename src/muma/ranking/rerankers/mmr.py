"""Maximal marginal relevance: each next item is relevant, and unlike those already chosen.

    argmax over the rest of  lambda * relevance(i) - (1 - lambda) * max over chosen j of sim(i, j)

Reference: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering
documents and producing summaries", SIGIR 1998.

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


class MMRConfig(Config):
    """Settings of maximal marginal relevance.

    Attributes:
        relevance_weight: lambda, 0 to 1; 1 keeps the order of the scores.
        similarity: `"cosine"` of item vectors, or overlap of `"tags"`.
    """

    relevance_weight: float = Field(default=0.7, ge=0, le=1)
    similarity: Similarity = "cosine"


class MMR:
    """Greedy maximal marginal relevance.

    Args:
        config: the settings.
    """

    def __init__(self, config: MMRConfig = MMRConfig()) -> None:
        self.config = config

    def rerank(self, slate: Slate, k: int, features: ItemFeatures) -> Slate:
        """See `Reranker.rerank`; relevance is the score on a scale of 0 to 1 within the slate."""
        n = checked(slate, k, features)
        unit_ND = unit_vectors(features, self.config.similarity, "MMR")
        place_n = _greedy(relevance(slate.score_N), unit_ND, self.config.relevance_weight, n)
        return slate.take(place_n)


@numba.njit(cache=True, nogil=True)
def _greedy(relevance_N: np.ndarray, unit_ND: np.ndarray, weight: float, n: int) -> np.ndarray:
    count, width = unit_ND.shape
    nearest_N = np.full(count, -np.inf)
    free_N = np.ones(count, dtype=np.bool_)
    place_n = np.empty(n, dtype=np.int64)
    for step in range(n):
        best, best_value = -1, -np.inf
        for i in range(count):
            if free_N[i]:
                alike = nearest_N[i] if step else 0.0
                value = weight * relevance_N[i] - (1.0 - weight) * alike
                if best < 0 or value > best_value:
                    best, best_value = i, value
        place_n[step] = best
        free_N[best] = False
        for i in range(count):
            if free_N[i]:
                dot = 0.0
                for d in range(width):
                    dot += unit_ND[i, d] * unit_ND[best, d]
                nearest_N[i] = max(nearest_N[i], dot)
    return place_n
