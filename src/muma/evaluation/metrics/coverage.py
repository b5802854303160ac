"""Catalogue coverage@k: the share of the catalogue that appears in any list.

Shape: B users, K list length, I items of the catalogue.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists


def coverage(item_BK: np.ndarray, *, n_items: int, k: int) -> float:
    """Distinct items in the first `k` slots of all lists, over `n_items`; NaN if there are none.

    Example:
        >>> coverage(np.array([[0, 1], [0, -1]]), n_items=4, k=2)
        0.5
    """
    shown = np.count_nonzero(exposure(item_BK, n_items=n_items, k=k))
    return float(shown / n_items) if n_items else float("nan")


def exposure(item_BK: np.ndarray, *, n_items: int, k: int) -> np.ndarray:
    """How many lists show each item in their first `k` slots; int64 [I].

    Example:
        >>> exposure(np.array([[0, 1], [0, -1]]), n_items=3, k=2).tolist()
        [2, 1, 0]
    """
    return np.bincount(item_BK[:, :k].ravel() + 1, minlength=n_items + 1)[1:]


class CoverageConfig(Config):
    """Options of `Coverage`; `k` is the depth of the list."""

    k: int = Field(default=10, ge=1)


class Coverage:
    """Catalogue coverage@k, see `coverage`; the catalogue is the columns of the truth."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: CoverageConfig | None = None) -> None:
        self.config = config or CoverageConfig()
        self.k = self.config.k
        self.name = f"coverage@{self.k}"

    def aggregate(self, lists: RankedLists) -> float:
        """Share of the catalogue shown to anybody."""
        return coverage(lists.item_BK, n_items=lists.n_items, k=self.k)
