"""Reciprocal rank@k (its mean is MRR@k): how soon the first relevant item comes.

    RR@k = 1 / rank of the first relevant item, 0 if there is none among the first k

Shape: B users, K list length.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists


def reciprocal_rank(lists: RankedLists, *, k: int) -> np.ndarray:
    """RR@k of each user, in [0, 1]; NaN without ground truth.

    Example:
        >>> from scipy.sparse import csr_array
        >>> reciprocal_rank(RankedLists(np.array([[0, 2]]), csr_array([[0, 1, 1]])), k=2).tolist()
        [0.5]
    """
    hit_BK = lists.hit_BK[:, :k]
    if hit_BK.shape[1] == 0:
        return lists.defined(np.zeros(len(hit_BK)))
    return lists.defined(np.where(hit_BK.any(axis=1), 1 / (1 + hit_BK.argmax(axis=1)), 0.0))


class ReciprocalRankConfig(Config):
    """Options of `ReciprocalRank`; `k` is the depth of the list."""

    k: int = Field(default=10, ge=1)


class ReciprocalRank:
    """Reciprocal rank@k, see `reciprocal_rank`; named `mrr@k` after its mean."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: ReciprocalRankConfig | None = None) -> None:
        self.config = config or ReciprocalRankConfig()
        self.k = self.config.k
        self.name = f"mrr@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Reciprocal rank@k of each user [B]."""
        return reciprocal_rank(lists, k=self.k)
