"""Fine bins of a reference: every histogram statistic of drift is a function of their counts.

Slots 0 ... L - 2 hold values in order of size, or, of a category, its most frequent values and the rest;
slot L - 1 holds missing values. A feature with few distinct values gets one slot for each.

Shape: N rows, F features, L slots, C coarse bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muma.artifact import Artifact, Writer


@dataclass(frozen=True)
class Bins:
    """Where the slots of each feature lie.

    Attributes:
        edge_FE: upper edges, inclusive, of all slots but the last and the missing one, float64
            [F, L - 2], +inf where unused; of a category its values, ascending, NaN where unused.
        coarse_FL: which coarse bin a slot belongs to, int64 [F, L]; missing is bin C - 1.
        category_F: which features are categories, bool [F].
    """

    edge_FE: np.ndarray
    coarse_FL: np.ndarray
    category_F: np.ndarray

    @property
    def slots(self) -> int:
        """L, with the slot of missing values."""
        return self.coarse_FL.shape[1]

    @property
    def coarse(self) -> int:
        """C, with the bin of missing values."""
        return int(self.coarse_FL[0, -1]) + 1 if len(self.coarse_FL) else 1

    def codes(self, value_NF: np.ndarray) -> np.ndarray:
        """Slot of each value: int64 [N, F]."""
        slot_NF = np.empty(value_NF.shape, dtype=np.int64)
        for f, edge_E in enumerate(self.edge_FE):
            value_N = value_NF[:, f].astype(np.float64)
            if self.category_F[f]:
                known_E = edge_E[~np.isnan(edge_E)]
                at_N = np.searchsorted(known_E, value_N).clip(max=max(len(known_E) - 1, 0))
                hit_N = known_E[at_N] == value_N if len(known_E) else np.zeros(len(value_N), bool)
                slot_NF[:, f] = np.where(hit_N, at_N, self.slots - 2)
            else:
                slot_NF[:, f] = np.searchsorted(edge_E, value_N, side="left")
            slot_NF[np.isnan(value_N), f] = self.slots - 1
        return slot_NF

    def save(self, writer: Writer, name: str) -> None:
        """Write the arrays as `name`.npz."""
        writer.arrays(
            f"{name}.npz",
            {"edge": self.edge_FE, "coarse": self.coarse_FL, "category": self.category_F},
        )

    @classmethod
    def load(cls, artifact: Artifact, name: str) -> Bins:
        """Read what `save` wrote."""
        stored = artifact.arrays(f"{name}.npz")
        return cls(stored["edge"], stored["coarse"], stored["category"])


def fit_bins(value_NF: np.ndarray, category_F: np.ndarray, *, grid: int, coarse: int) -> Bins:
    """Lay bins by the quantiles of a reference.

    Args:
        value_NF: the reference's values [N, F].
        category_F: which features are categories, bool [F].
        grid: slots for values, beside the missing one.
        coarse: coarse bins for values, each about as full, beside the missing one.
    """
    features = value_NF.shape[1]
    edge_FE = np.full((features, grid - 1), np.inf)
    coarse_FL = np.full((features, grid + 1), coarse, dtype=np.int64)
    for f in range(features):
        value_n = value_NF[:, f].astype(np.float64)
        value_n = value_n[~np.isnan(value_n)]
        if category_F[f]:
            edge_FE[f], coarse_FL[f, :-1] = _category(value_n, grid, coarse)
            continue
        edges = _edges(value_n, grid)
        edge_FE[f, : len(edges)] = edges
        count_L = np.bincount(np.searchsorted(edge_FE[f], value_n), minlength=grid)
        middle_L = (np.cumsum(count_L) - count_L / 2) / max(len(value_n), 1)
        coarse_FL[f, :-1] = np.minimum((middle_L * coarse).astype(np.int64), coarse - 1)
    return Bins(edge_FE, coarse_FL, category_F)


def _edges(value_n: np.ndarray, grid: int) -> np.ndarray:
    """Upper edges, from just below or at the smallest value to the largest one.

    All distinct values when they fit; else quantiles. Slots below and above stay for values that the
    reference never saw.
    """
    distinct = np.unique(value_n)
    if not len(distinct):
        return distinct
    if len(distinct) <= grid - 2:
        return np.concatenate([[np.nextafter(distinct[0], -np.inf)], distinct])
    return np.unique(np.quantile(value_n, np.linspace(0, 1, grid - 1), method="inverted_cdf"))


def _category(value_n: np.ndarray, grid: int, coarse: int) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent values, and a coarse bin for each of the first ones; the rest share one."""
    distinct, count = np.unique(value_n, return_counts=True)
    frequent = np.argsort(-count, kind="stable")[: grid - 1]
    kept = np.sort(frequent)
    edge_E = np.full(grid - 1, np.nan)
    edge_E[: len(kept)] = distinct[kept]
    coarse_L = np.full(grid, coarse - 1, dtype=np.int64)
    rank = {int(at): r for r, at in enumerate(frequent)}
    coarse_L[: len(kept)] = [min(rank[int(at)], coarse - 1) for at in kept]
    return edge_E, coarse_L
