"""The categories a key deals with most, and their shares."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from pydantic import Field

from muma.features.families.blocks import BlockConfig, refuse
from muma.features.families.mean import ratio
from muma.features.feature import Cell, Feature, Moment, Partial
from muma.features.measure import Measure
from muma.features.window import Gap


class TopKConfig(BlockConfig):
    """Top categories.

    Attributes:
        k: how many.
        buckets: categories counted apart, by their index in the catalogue; the rest share the last.
    """

    k: int = Field(default=3, ge=1)
    buckets: int = Field(default=64, ge=2, le=4096)


class TopK:
    """`{key}.{of}.top{i}_category.{window}` and `.top{i}_share.`, i from 1.

    The category is its index in the catalogue, the share is of the key's events that have one; both
    are NaN when there are fewer than i categories. Equal counts go to the lower index.
    """

    def __init__(self, config: TopKConfig) -> None:
        self.config = config

    def features(self) -> Sequence[Feature]:
        """One feature of 2 k columns a key, filter and window; the state is a count a bucket."""
        found = []
        for key, of, window in self.config.combinations():
            refuse(window, (Gap,), "top categories")
            columns = tuple(
                f"{key.label}.{of}.top{rank}_{what}.{window.label}"
                for rank in range(1, self.config.k + 1)
                for what in ("category", "share")
            )
            partial = Partial("bucket", Measure("category"), of, self.config.buckets)
            found.append(Feature(columns, (Cell(key.name, window, partial),)))
        return found

    def values(self, cells: Sequence[np.ndarray], moment: Moment) -> np.ndarray:
        """Index and share, interleaved."""
        del moment
        counts = cells[0]
        k = min(self.config.k, counts.shape[-1])
        order = np.argsort(-counts, axis=-1, kind="stable")[..., :k]
        best = np.take_along_axis(counts, order, axis=-1)
        total = total_of(counts)[..., None]
        found = best > 0
        category = np.where(found, order.astype(np.float64), np.nan)
        share = np.where(found, ratio(best, np.broadcast_to(total, best.shape)), np.nan)
        values = np.full((*counts.shape[:-1], 2 * self.config.k), np.nan)
        values[..., 0 : 2 * k : 2] = category
        values[..., 1 : 2 * k : 2] = share
        return values


@numba.njit(cache=True, nogil=True)
def total_of(counts_BFC: np.ndarray) -> np.ndarray:
    """Sum over the last axis in a fixed order, so that no layout can change a bit: float64 [B, F]."""
    total_BF = np.zeros(counts_BFC.shape[:2], dtype=np.float64)
    for b in range(counts_BFC.shape[0]):
        for f in range(counts_BFC.shape[1]):
            for c in range(counts_BFC.shape[2]):
                total_BF[b, f] += counts_BFC[b, f, c]
    return total_BF
