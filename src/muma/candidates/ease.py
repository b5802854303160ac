"""EASE: the linear item-item model without self-similarity, in closed form.

    P = (X'X + l2 I)^-1,   B_ij = -P_ij / P_jj,  B_ii = 0,   score_u = h_u B

Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, eq. (8). `h_u` is the user's
row of X, or with `history_half_life` the same row faded by age, h_ui = x_ui 2^(-age / half_life)
with age in later interactions of the user: "recency-weighted EASE", fitted no differently.

Shape: B users, U users of the vocabulary, F fitted items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.linalg import lapack

from muma.candidates.base import CatalogueModel, ModelConfig
from muma.candidates.live import History, greatest
from muma.candidates.rows import summed_dense
from muma.errors import ConfigError, DataError
from muma.events.interactions import Interactions


class EASEConfig(ModelConfig):
    """Parameters of `EASE`.

    Attributes:
        l2: penalty on the weights, in interactions; more items or noise want more.
        history_half_life: interactions after which one counts half in scoring; None never fades.
        dtype: precision of the inversion; float32 halves its memory and time.
        max_items: refuse to fit more items than this; the model holds three matrices of F x F.
    """

    name: str = "ease"
    l2: float = Field(default=200.0, gt=0)
    history_half_life: float | None = Field(default=None, gt=0)
    dtype: Literal["float32", "float64"] = "float64"
    max_items: int = Field(default=20_000, ge=1)


class EASE(CatalogueModel):
    """Embarrassingly shallow autoencoder.

    Example:
        >>> from muma.testing.logs import tiny_log
        >>> log = tiny_log({0: [0, 1], 1: [0, 1], 2: [0, 2], 3: [1]})
        >>> EASE(EASEConfig(l2=1.0)).fit(log).propose(np.array([3]), 1).item_BN.tolist()
        [[0]]
    """

    config: EASEConfig

    def __init__(self, config: EASEConfig | None = None) -> None:
        super().__init__(config or EASEConfig())

    def _learn(self, history: Interactions) -> Mapping[str, np.ndarray]:
        if history.n_items > self.config.max_items:
            gib = history.n_items**2 * (2 * np.dtype(self.config.dtype).itemsize + 4) / 2**30
            raise ConfigError(
                f"{self.name}: {history.n_items:,} items are more than max_items = "
                f"{self.config.max_items:,}; raise max_items if {gib:.1f} GiB fit in memory, "
                "or use muma.candidates.item_knn.ItemKNN"
            )
        taken_UF = history.matrix(binary=False).astype(self.config.dtype)
        gram_FF = (taken_UF.T @ taken_UF).toarray(order="F")
        np.fill_diagonal(gram_FF, gram_FF.diagonal() + self.config.l2)
        weight_FF = _inverse(gram_FF)
        weight_FF /= -weight_FF.diagonal()[None, :].copy()
        np.fill_diagonal(weight_FF, 0.0)
        return {"weight_FF": np.ascontiguousarray(weight_FF, dtype=np.float32)}

    def _ready(self, learned: Mapping[str, np.ndarray], history: Interactions) -> None:
        self._weight_FF = learned["weight_FF"]
        fading = self.config.history_half_life
        fade_E = 1.0 if fading is None else 0.5 ** (history.ages / fading)
        self._history_UF = history.spread(history.weight_E * fade_E)

    def _score(self, user_B: np.ndarray) -> np.ndarray:
        return self._history_UF[user_B] @ self._weight_FF

    def _score_history(self, history: History) -> np.ndarray:
        fading = self.config.history_half_life
        fade_L = 1.0 if fading is None else 0.5 ** (history.ages / fading)
        item_L, value_L = greatest(history.item_L, history.weight_L * fade_L)
        return summed_dense(self._weight_FF, item_L, value_L)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix in Fortran order, which is overwritten."""
    potrf, potri = lapack.get_lapack_funcs(("potrf", "potri"), (matrix,))
    factor, failed = potrf(matrix, lower=True, overwrite_a=True, clean=False)
    inverse, failed_too = potri(factor, lower=True, overwrite_c=True)
    if failed or failed_too:
        raise DataError("the item-item matrix is not positive definite; raise l2 or use float64")
    for row in range(len(inverse)):
        inverse[row, row + 1 :] = inverse[row + 1 :, row]
    return inverse
