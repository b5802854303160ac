"""Hit rate@k: whether the list finds anything at all.

    HitRate@k = 1 if a relevant item is among the first k, else 0

Shape: B users, K list length.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists


def hit_rate(lists: RankedLists, *, k: int) -> np.ndarray:
    """Hit (1.0) or miss (0.0) of each user; NaN without ground truth.

    Example:
        >>> from scipy.sparse import csr_array
        >>> hit_rate(RankedLists(np.array([[0, 2]]), csr_array([[0, 1, 1]])), k=2).tolist()
        [1.0]
    """
    return lists.defined(np.where(lists.hit_BK[:, :k].any(axis=1), 1.0, 0.0))


class HitRateConfig(Config):
    """Options of `HitRate`; `k` is the depth of the list."""

    k: int = Field(default=10, ge=1)


class HitRate:
    """Hit rate@k, see `hit_rate`."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: HitRateConfig | None = None) -> None:
        self.config = config or HitRateConfig()
        self.k = self.config.k
        self.name = f"hit_rate@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Hit or miss of each user [B]."""
        return hit_rate(lists, k=self.k)
