"""Average precision@k (its mean is MAP@k): precision at each hit, averaged over the truth.

    AP@k = sum over hits at ranks r <= k of Precision@r / N,   N = |relevant|

`N = |relevant|` is what trec_eval (`map_cut`), ir_measures (`AP@k`) and ranx (`map@k`) compute.
`normalise = "reachable"` divides by min(|relevant|, k) instead, so that a perfect list scores 1.

Shape: B users, K list length.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists

Normalise = Literal["relevant", "reachable"]


def average_precision(
    lists: RankedLists, *, k: int, normalise: Normalise = "relevant"
) -> np.ndarray:
    """AP@k of each user, in [0, 1]; NaN without ground truth.

    Example:
        >>> from scipy.sparse import csr_array
        >>> lists = RankedLists(np.array([[1, 0]]), csr_array([[0, 1, 1]]))
        >>> average_precision(lists, k=2).tolist()
        [0.5]
    """
    hit_BK = lists.hit_BK[:, :k]
    precision_BK = np.cumsum(hit_BK, axis=1) / np.arange(1, hit_BK.shape[1] + 1)
    divisor_B = lists.relevant_B if normalise == "relevant" else np.minimum(lists.relevant_B, k)
    return lists.defined((precision_BK * hit_BK).sum(axis=1) / np.maximum(divisor_B, 1))


class AveragePrecisionConfig(Config):
    """Options of `AveragePrecision`: depth `k`, and what the sum is divided by."""

    k: int = Field(default=10, ge=1)
    normalise: Normalise = "relevant"


class AveragePrecision:
    """Average precision@k, see `average_precision`; named `map@k` after its mean."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: AveragePrecisionConfig | None = None) -> None:
        self.config = config or AveragePrecisionConfig()
        self.k = self.config.k
        suffix = "" if self.config.normalise == "relevant" else "-reachable"
        self.name = f"map{suffix}@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Average precision@k of each user [B]."""
        return average_precision(lists, k=self.k, normalise=self.config.normalise)
