"""Normalised discounted cumulative gain@k.

    DCG@k = sum over ranks r <= k of g(r) / log2(r + 1),   NDCG@k = DCG@k / best reachable DCG@k

`gain = "linear"` takes g as it is (Järvelin and Kekäläinen, TOIS 2002); `"exp2"` takes 2^g - 1
(Burges et al., ICML 2005). Both agree for binary gains.

Shape: B users, K list length, E entries of the truth.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from muma.config import Config
from muma.evaluation.metric import RankedLists

Gain = Literal["linear", "exp2"]


def ndcg(lists: RankedLists, *, k: int, gain: Gain = "linear") -> np.ndarray:
    """NDCG@k of each user, in [0, 1]; NaN without ground truth.

    Example:
        >>> from scipy.sparse import csr_array
        >>> lists = RankedLists(np.array([[0, 1]]), csr_array([[0, 1]]))
        >>> ndcg(lists, k=2).round(4).tolist()
        [0.6309]
    """
    gain_BK = lists.gain_BK[:, :k]
    discount_K = 1 / np.log2(np.arange(2, k + 2))
    dcg_B = _scale(gain_BK, gain) @ discount_K[: gain_BK.shape[1]]
    ideal_B = _ideal(lists, discount_K, gain)
    return lists.defined(dcg_B / np.where(ideal_B > 0, ideal_B, 1.0))


def _scale(gain: np.ndarray, kind: Gain) -> np.ndarray:
    return gain if kind == "linear" else np.exp2(gain) - 1


def _ideal(lists: RankedLists, discount_K: np.ndarray, kind: Gain) -> np.ndarray:
    """DCG of the truth in its best order: the K largest gains of each row."""
    count_B, gain_E = lists.relevant_B, lists.truth.data
    row_E = np.repeat(np.arange(len(count_B)), count_B)
    if gain_E.size and gain_E.min() != gain_E.max():
        gain_E = gain_E[np.lexsort((-gain_E.astype(np.float64), row_E))]
    rank_E = np.arange(len(gain_E)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
    top_E = rank_E < len(discount_K)
    weight_E = _scale(gain_E[top_E].astype(np.float64), kind) * discount_K[rank_E[top_E]]
    return np.bincount(row_E[top_E], weights=weight_E, minlength=len(count_B))


class NDCGConfig(Config):
    """Options of `NDCG`: depth `k`, and the shape of the gain."""

    k: int = Field(default=10, ge=1)
    gain: Gain = "linear"


class NDCG:
    """NDCG@k, see `ndcg`."""

    needs: tuple[str, ...] = ()

    def __init__(self, config: NDCGConfig | None = None) -> None:
        self.config = config or NDCGConfig()
        self.k = self.config.k
        suffix = "" if self.config.gain == "linear" else f"-{self.config.gain}"
        self.name = f"ndcg{suffix}@{self.k}"

    def per_user(self, lists: RankedLists) -> np.ndarray:
        """NDCG@k of each user [B]."""
        return ndcg(lists, k=self.k, gain=self.config.gain)
