"""Precision@k: the share of the list's k slots that hold a relevant item.

    Precision@k = |relevant in the first k| / k

Shape: B users, K list length.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists


def precision(lists: RankedLists, *, k: int) -> np.ndarray:
    """Precision@k of each user, in [0, 1]; NaN without ground truth.

    The divisor is `k` also for shorter lists: an empty slot is a miss (as in trec_eval and ranx).

    Example:
        >>> from scipy.sparse import csr_array
        >>> precision(RankedLists(np.array([[2, 0]]), csr_array([[0, 1, 1]])), k=4).tolist()
        [0.25]
    """
    return lists.defined(np.count_nonzero(lists.hit_BK[:, :k], axis=1) / k)


class PrecisionConfig(Config):
    """Options of `Precision`; `k` is the depth of the list."""

    k: int = Field(default=10, ge=1)


class Precision:
    """Precision@k, see `precision`."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: PrecisionConfig | None = None) -> None:
        self.config = config or PrecisionConfig()
        self.k = self.config.k
        self.name = f"precision@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Precision@k of each user [B]."""
        return precision(lists, k=self.k)
