"""Exposure Gini@k: how unevenly the lists spread their slots over the catalogue.

    G = sum over i, j of |e_i - e_j| / (2 I sum e) = sum over i of (2 i - I - 1) e_(i) / (I sum e)

with e the exposures of all I catalogue items (never shown ones too) and e_(i) the i-th smallest.
0 is even, (I - 1) / I is one item for everybody.

Shape: B users, K list length, I items of the catalogue.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists
from muma.evaluation.metrics.coverage import exposure


def gini(amount_I: np.ndarray) -> float:
    """Gini coefficient of non-negative amounts; NaN when they sum to 0.

    Example:
        >>> gini(np.array([1, 1, 1, 1])), gini(np.array([0, 0, 0, 8]))
        (0.0, 0.75)
    """
    n, total = len(amount_I), float(np.sum(amount_I))
    if total == 0:
        return float("nan")
    weight_I = 2 * np.arange(1, n + 1) - n - 1
    return float(weight_I @ np.sort(amount_I).astype(np.float64) / (n * total))


class GiniConfig(Config):
    """Options of `Gini`; `k` is the depth of the list."""

    k: int = Field(default=10, ge=1)


class Gini:
    """Exposure Gini@k, see `gini`; the catalogue is the columns of the truth."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: GiniConfig | None = None) -> None:
        self.config = config or GiniConfig()
        self.k = self.config.k
        self.name = f"gini@{self.k}"

    def aggregate(self, lists: RankedLists) -> float:
        """Gini coefficient of the exposures; NaN if no list holds an item."""
        return gini(exposure(lists.item_BK, n_items=lists.n_items, k=self.k))
