"""Novelty@k: how surprising the listed items are, in bits (mean self-information).

    Novelty@k = mean over the first k items of -log2 p(i),   p(i) = (n_i + a) / (sum n + a I)

with n_i the item's interactions in training and `a` the smoothing (Zhou et al., PNAS 2010, with
additive smoothing so that an item unseen in training has a finite value: log2((sum n + a I) / a)).

Shape: B users, K list length, I items of the catalogue.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.metric import RankedLists


def novelty(
    item_BK: np.ndarray, popularity_I: np.ndarray, *, k: int, smoothing: float = 1.0
) -> np.ndarray:
    """Mean self-information of each list, in bits; NaN for an empty list.

    Args:
        item_BK: lists, -1 for empty slots.
        popularity_I: interactions in training (counts, not negative).
        k: depth of the list.
        smoothing: added to every count; positive.

    Raises:
        DataError: a count is negative or not finite.

    Example:
        >>> novelty(np.array([[0, -1], [-1, -1]]), np.array([3, 0]), k=2, smoothing=1.0).round(4)
        array([0.3219,    nan])
    """
    count_I = np.asarray(popularity_I, dtype=np.float64)
    if not (np.isfinite(count_I) & (count_I >= 0)).all():
        raise DataError("popularity holds a negative or non-finite count; give training counts")
    bits_I = -np.log2((count_I + smoothing) / (count_I.sum() + smoothing * len(count_I)))
    item_BK = item_BK[:, :k]
    filled_BK = item_BK >= 0
    count_B = np.count_nonzero(filled_BK, axis=1)
    total_B = np.where(filled_BK, bits_I[item_BK], 0.0).sum(axis=1)
    return np.where(count_B > 0, total_B / np.maximum(count_B, 1), np.nan)


class NoveltyConfig(Config):
    """Options of `Novelty`: depth `k`, and the count added to every item."""

    k: int = Field(default=10, ge=1)
    smoothing: float = Field(default=1.0, gt=0)


class Novelty:
    """Novelty@k in bits, see `novelty`; reads `context.popularity_I`."""

    needs: tuple[str, ...] = ("popularity_I",)

    def __init__(self, config: NoveltyConfig | None = None) -> None:
        self.config = config or NoveltyConfig()
        self.k = self.config.k
        self.name = f"novelty@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Novelty of each list, in bits [B].

        Raises:
            DataError: the context has no popularity, or it does not fit the catalogue.
        """
        popularity_I = lists.context.popularity_I
        if popularity_I is None or len(popularity_I) != lists.n_items:
            raise DataError(f"{self.name} needs context.popularity_I, one count per catalogue item")
        return novelty(lists.item_BK, popularity_I, k=self.k, smoothing=self.config.smoothing)
