"""Intra-list diversity@k: how unlike each other the items of one list are.

    ILD@k = 1 - mean over pairs of cos(f_i, f_j)      (Ziegler et al., WWW 2005, with cosine)

The pairs are summed without visiting them: with unit vectors u, sum over i != j of u_i.u_j is
|sum u|^2 - n. Items whose features are all zero have no direction and are left out.

Shape: B users, K list length, I items, F features.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array, diags_array, issparse

from muma.config import Config
from muma.errors import DataError
from muma.evaluation.metric import RankedLists, dims

_BLOCK = 1024


def diversity(item_BK: np.ndarray, item_features: np.ndarray | csr_array, *, k: int) -> np.ndarray:
    """Diversity of each list, in [0, 2] (in [0, 1] for non-negative features).

    NaN when fewer than two of the listed items have features.

    Args:
        item_BK: lists, -1 for empty slots.
        item_features: [I, F], dense or sparse.
        k: depth of the list.

    Example:
        >>> diversity(np.array([[0, 1], [0, 2]]), np.array([[1, 0], [1, 0], [0, 1]]), k=2).tolist()
        [0.0, 1.0]
    """
    item_BK = item_BK[:, :k]
    unit_IF, has_I = _unit(item_features)
    used_BK = (item_BK >= 0) & has_I[item_BK]
    n_B = np.count_nonzero(used_BK, axis=1)
    pointer = np.concatenate([[0], np.cumsum(n_B)])
    chosen = (np.ones(int(pointer[-1])), item_BK[used_BK], pointer)
    picks_BI = csr_array(chosen, shape=(len(item_BK), len(has_I)))
    square_B = np.empty(len(item_BK))
    for start in range(0, len(item_BK), _BLOCK):
        sum_BF = picks_BI[start : start + _BLOCK] @ unit_IF
        square = sum_BF.power(2) if issparse(sum_BF) else np.square(sum_BF)
        square_B[start : start + _BLOCK] = square.sum(axis=1)
    pairs_B = n_B * (n_B - 1.0)
    return np.where(n_B > 1, 1 - (square_B - n_B) / np.maximum(pairs_B, 1), np.nan)


def _unit(item_features: np.ndarray | csr_array) -> tuple[np.ndarray | csr_array, np.ndarray]:
    """Rows scaled to length 1, and which rows have a direction."""
    if isinstance(item_features, np.ndarray):
        length_I = np.linalg.norm(item_features.astype(np.float64), axis=1)
        scale_I = 1 / np.where(length_I > 0, length_I, 1.0)
        return item_features * scale_I[:, None], length_I > 0
    features = csr_array(item_features, dtype=np.float64)
    length_I = np.sqrt(np.asarray(features.power(2).sum(axis=1)).ravel())
    scale_I = 1 / np.where(length_I > 0, length_I, 1.0)
    return csr_array(diags_array(scale_I) @ features), length_I > 0


class DiversityConfig(Config):
    """Options of `Diversity`; `k` is the depth of the list."""

    k: int = Field(default=10, ge=1)


class Diversity:
    """Intra-list diversity@k, see `diversity`; reads `context.item_features`."""

    needs: tuple[str, ...] = ("item_features",)

    def __init__(self, config: DiversityConfig | None = None) -> None:
        self.config = config or DiversityConfig()
        self.k = self.config.k
        self.name = f"diversity@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """Diversity of each list [B].

        Raises:
            DataError: the context has no item features, or they do not fit the catalogue.
        """
        features = lists.context.item_features
        if features is None or dims(features)[0] != lists.n_items:
            raise DataError(f"{self.name} needs context.item_features, one row per catalogue item")
        return diversity(lists.item_BK, features, k=self.k)
