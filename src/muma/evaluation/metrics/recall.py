"""Recall@k: the share of the ground truth that the list finds.

    Recall@k = |relevant in the first k| / |relevant|

Shape: B users, K list length.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists


def recall(lists: RankedLists, *, k: int) -> np.ndarray:
    """Recall@k of each user, in [0, 1]; NaN without ground truth.

    The divisor is the size of the truth, not min(k, size): with more than k relevant items even a
    perfect list stays below 1 (as in trec_eval and ranx).

    Example:
        >>> from scipy.sparse import csr_array
        >>> recall(RankedLists(np.array([[2, 0]]), csr_array([[0, 1, 1]])), k=2).tolist()
        [0.5]
    """
    found_B = np.count_nonzero(lists.hit_BK[:, :k], axis=1)
    return lists.defined(found_B / np.maximum(lists.relevant_B, 1))


class RecallConfig(Config):
    """Options of `Recall`; `k` is the depth of the list."""

    k: int = Field(default=10, ge=1)


class Recall:
    """Recall@k, see `recall`."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: RecallConfig | None = None) -> None:
        self.config = config or RecallConfig()
        self.k = self.config.k
        self.name = f"recall@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Recall@k of each user [B]."""
        return recall(lists, k=self.k)
