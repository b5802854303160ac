"""What the two matrix factorisations share: a quiet, repeatable run of `implicit`, and the product.

Shape: B users, U users of the vocabulary, F fitted items, D factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from muma.candidates.base import CatalogueModel, ModelConfig
from muma.events.interactions import Interactions
from muma.optional import require


class FactorModel(CatalogueModel):
    """A model that learns `user_UD` and `item_FD` and scores by their product.

    Raises:
        MissingExtraError: `implicit` is not installed; said when the model is built.
    """

    def __init__(self, config: ModelConfig) -> None:
        require("implicit", extra="mf")
        super().__init__(config)

    def _ready(self, learned: Mapping[str, np.ndarray], history: Interactions) -> None:
        self._user_UD = for_users(learned["user_UD"], history.n_users)
        self._item_FD = learned["item_FD"]

    def _score(self, user_B: np.ndarray) -> np.ndarray:
        return dot(self._user_UD[user_B], self._item_FD)


def factorise(
    module: str, name: str, history: Interactions, **params: Any
) -> dict[str, np.ndarray]:
    """Fit a model of `implicit` and return its factors `user_UD` and `item_FD`.

    BLAS runs on one thread meanwhile: `implicit` has its own threads and warns about two layers of
    them, and one thread makes the sums repeatable.

    Args:
        module: dotted name of the module, such as `"implicit.als"`.
        name: the model's class in it.
        history: interactions; the greatest weight of each pair is its confidence.
        params: arguments of the model.

    Raises:
        MissingExtraError: `implicit` is not installed.
    """
    build = getattr(require(module, extra="mf"), name)
    limits = require("threadpoolctl", extra="mf").threadpool_limits
    with limits(1, "blas"):
        model = build(**params, use_gpu=False)
        model.fit(csr_matrix(history.matrix(binary=False)), show_progress=False)
    user_UD, item_FD = np.array(model.user_factors), np.array(model.item_factors)
    user_UD[np.diff(history.indptr) == 0] = 0.0
    return {"user_UD": user_UD, "item_FD": item_FD}


def for_users(user_UD: np.ndarray, n_users: int) -> np.ndarray:
    """Factors of `n_users` users; the ones who came after fitting have zeros."""
    return np.pad(user_UD, ((0, max(0, n_users - len(user_UD))), (0, 0)))


def dot(user_BD: np.ndarray, item_FD: np.ndarray) -> np.ndarray:
    """Float32 [B, F], summed in float64 so that the size of the block leaves no trace."""
    return (user_BD.astype(np.float64) @ item_FD.T.astype(np.float64)).astype(np.float32)
